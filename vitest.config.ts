import { defineConfig } from 'vitest/config'

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
