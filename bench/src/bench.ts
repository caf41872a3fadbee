/** `npm run bench -- <name>`: starts everything itself, prints as it goes, and writes the result to `bench/results/`. */
import { writeFile } from 'node:fs/promises'
import { measuredCommit } from '../../e2e/src/measured-commit.ts'

type Print = (line: string) => void

interface Bench {
  /** One line, with its duration. */
  readonly summary: string
  run(print: Print): Promise<object>
}

/** One line for each: the function is loaded when it is asked for. */
const BENCHES: Readonly<Record<string, Bench>> = {
  deliveries: {
    summary:
      'pages of the list with ten thousand and with ten million finished deliveries, about ten minutes',
    run: async (print) => (await import('./deliveries.ts')).benchDeliveries(print),
  },
  delivery: {
    summary:
      'deliveries against a bare undici loop, receipt to arrival, claims with a million waiting, about three minutes',
    run: async (print) => (await import('./delivery.ts')).benchDelivery(print),
  },
  ingest: {
    summary:
      'durable ingest against a bare Node.js server and Fastify, with repeats, items and a million waiting, about three minutes',
    run: async (print) => (await import('./ingest.ts')).benchIngest(print),
  },
  tokens: {
    summary: 'token reads over HTTP against the same select behind a bare door, about a minute',
    run: async (print) => (await import('./tokens.ts')).benchTokens(print),
  },
  vault: {
    summary: 'seal and open times against bare AES-256-GCM, some seconds',
    run: async (print) => (await import('./vault.ts')).benchVault(print),
  },
}

const name = process.argv[2]
const bench = name !== undefined && Object.hasOwn(BENCHES, name) ? BENCHES[name] : undefined
if (bench === undefined) {
  const lines = Object.entries(BENCHES).map(([known, { summary }]) => `  ${known.padEnd(12)}${summary}\n`)
  process.stdout.write(`Usage: npm run bench -- <name>\n\n${lines.join('')}`)
  process.exit(name === '--help' ? 0 : 2)
}
const commit = measuredCommit()
const result = await bench.run((line) => process.stdout.write(`${line}\n`))
await writeFile(
  new URL(`../results/${name}.json`, import.meta.url),
  `${JSON.stringify({ commit, ...result }, null, 2)}\n`,
)
