/**
 * The BFF as a process: environment, listening, draining. Mistakes of the configuration go to standard error, one line
 * each, and end it with 1.
 */
import { buildApp } from './app.ts'
import { readConfig } from './config.ts'

const DRAIN_MS = 10_000

const reading = readConfig(process.env)
if (reading.kind === 'invalid') {
  for (const mistake of reading.mistakes) process.stderr.write(`${mistake}\n`)
  process.exit(1)
}

try {
  const app = buildApp(reading.config)
  const stop = (): void => {
    // What does not end in time is cut: a supervisor would kill the process anyway.
    setTimeout(() => process.exit(1), DRAIN_MS).unref()
    app.close().then(
      () => process.exit(0),
      () => process.exit(1),
    )
  }
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
  await app.listen(reading.listen)
} catch (error) {
  process.stderr.write(`${sentence(error)}\n`)
  process.exit(1)
}

function sentence(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'EADDRINUSE') return 'BFF_PORT is taken by another process: stop it or choose another port.'
  if (code === 'EACCES') return 'BFF_PORT may not be opened by this user: choose a port above 1023.'
  return error instanceof Error ? error.message : 'The BFF could not start.'
}
