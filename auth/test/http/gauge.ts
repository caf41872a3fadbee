/**
 * Loaded before `main.ts` by `startAuth` (`node --import`): answers over IPC what the process has used, so that a test can
 * hold it against a bound. It changes nothing in the process and does not keep it alive.
 */
process.on('message', (message) => {
  if (message !== 'measure') return
  const { user, system } = process.cpuUsage()
  process.send?.({
    cpuMs: (user + system) / 1000,
    rssBytes: process.memoryUsage.rss(),
    prototypes: [Object.prototype, Array.prototype].flatMap((object) => Reflect.ownKeys(object).map(String)),
  })
})
process.channel?.unref()
process.once('disconnect', () => process.kill(process.pid, 'SIGKILL'))
