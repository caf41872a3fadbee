/** `npm run bench -- <name>`: starts everything itself, prints as it goes, and writes the result to `bench/results/`. */
import { execFileSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { benchIngest } from './ingest.ts'

const BENCHES = { ingest: benchIngest } as const

const name = process.argv[2]
if (name === undefined || name === '--help' || !(name in BENCHES)) {
  process.stdout.write(
    'Usage: npm run bench -- ingest\n\n  ingest   durable ingest against a bare Node.js server, three interleaved rounds, about a minute\n',
  )
  process.exit(name === '--help' ? 0 : 2)
}
const result = await BENCHES[name as keyof typeof BENCHES]((line) => process.stdout.write(`${line}\n`))
const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD']).toString().trim()
await writeFile(
  new URL(`../results/${name}.json`, import.meta.url),
  `${JSON.stringify({ commit, ...result }, null, 2)}\n`,
)
