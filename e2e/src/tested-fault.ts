/**
 * A fault whose test is its long form already: it takes simulated hours or the time of a lease, not more events. The test
 * is run as it is, and what it measured is read from the line that it prints.
 */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { FaultResult, Print } from './faults.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** A test prints `figures: ` and JSON on one line. */
const FIGURES = /figures: (\{.*\})/

/** @param file below the repository's root */
export async function runTested(file: string, print: Print): Promise<FaultResult> {
  const child = spawn(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', '--no-color', file], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let said = ''
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString()
  })
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  for (const line of said.split('\n')) if (/^\s*(✓|×|→|Tests)|AssertionError/.test(line)) print(line)
  const figures = FIGURES.exec(said)?.[1]
  const problems = [
    ...(code === 0 ? [] : [`the test ended with ${code}`]),
    ...(figures === undefined ? ['the test told no figures'] : []),
  ]
  return { problems, figures: figures === undefined ? {} : (JSON.parse(figures) as Record<string, unknown>) }
}
