import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

// inherited by the workers and by the programs that tests start: a third of the time that they need is compiling
process.env.NODE_COMPILE_CACHE ??= fileURLToPath(new URL('node_modules/.cache/node', import.meta.url))

/** One run for all rooms. `e2e` comes with real processes and a browser; the rest runs in threads of one process each. */
export default defineConfig({
  test: {
    include: ['{providers,auth,bff,client,console,simulators,local,e2e,bench}/test/**/*.test.ts'],
    globalSetup: ['./local/test/global-setup.ts'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    maxWorkers: 2,
    pool: 'forks',
  },
})
