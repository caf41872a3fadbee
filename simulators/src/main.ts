/**
 * The simulators as a process: reads SIMULATORS_CONFIG (JSON), prints one line of JSON when ready, closes on
 * SIGTERM or SIGINT. The log goes to stderr and has no secrets.
 */
import { readOptions } from './options.ts'
import { startSimulators } from './start.ts'

const log = (line: string) => process.stderr.write(`${line}\n`)

try {
  const options = readOptions(process.env.SIMULATORS_CONFIG ?? '')
  const { close, ...addresses } = await startSimulators({ ...options, log })
  const stop = () => {
    close().then(
      () => process.exit(0),
      () => process.exit(1),
    )
  }
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
  process.stdout.write(`${JSON.stringify({ ready: true, ...addresses })}\n`)
} catch (error) {
  log(error instanceof Error ? error.message : 'simulators: could not start')
  process.exitCode = 1
}
