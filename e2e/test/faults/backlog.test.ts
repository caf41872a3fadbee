import pg from 'pg'
import { expect, test } from 'vitest'
import { drainBacklog } from '../../src/backlog.ts'
import { onOwnDatabase } from '../../src/refresh-storm.ts'

test('RE-13 F23 F24 a backlog at many destinations drains evenly while notifications are acknowledged (short form of npm run faults -- backlog)', async () => {
  const { result, timeout } = await onOwnDatabase(async (databaseUrl, directory) => {
    const drained = await drainBacklog(
      {
        databaseUrl,
        directory,
        destinations: 20,
        waiting: 20_000,
        windowSeconds: 3,
        windows: 2,
        eventsPerSecond: 20,
        judged: false,
      },
      () => {},
    )
    const client = new pg.Client({ connectionString: databaseUrl })
    await client.connect()
    const { rows } = await client.query<{ timeout: string }>(
      `select current_setting('idle_in_transaction_session_timeout') as timeout`,
    )
    await client.end()
    return { result: drained, timeout: rows[0]?.timeout }
  })
  console.log('a backlog:', result.figures)
  expect(result.problems).toEqual([])
  // a transaction that somebody forgot is ended; the long form waits for it
  expect(timeout).toBe('1min')
}, 180_000)
