/**
 * Loaded before the program of every child (`node --import`): when the supervisor is gone, even by `kill -9`, the
 * child ends itself as if it had been told to, and for certain after the time that draining may take. It does
 * nothing in a process without a supervisor and does not keep a finished one alive.
 */

const DRAIN_MS = 15_000

if (process.channel !== undefined) {
  process.once('disconnect', () => {
    process.kill(process.pid, 'SIGTERM')
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), DRAIN_MS).unref()
  })
  process.channel.unref()
}
