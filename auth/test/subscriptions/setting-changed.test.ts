/** A setting that changed between two starts: the reconciler makes actual match wanted, in the whole of Auth. */
import { afterAll, expect, test } from 'vitest'
import { newEncryptionKey, seedSubscription } from '../../../e2e/src/seed.ts'
import { sql } from '../../src/db/sql.ts'
import { type TestDatabase, testDatabase } from '../database.ts'
import { until } from '../http/people.ts'
import { openWorld } from '../world.ts'

let database: TestDatabase | undefined
afterAll(() => database?.close())

test('WI-16 what is not watched any more ends here and at the provider; what is watched again is wanted anew', async () => {
  const db = await testDatabase()
  database = db
  const ENCRYPTION_KEY = newEncryptionKey()
  const { connectionId } = await seedSubscription(db.url, ENCRYPTION_KEY)
  await db.db.rows(sql`update auth.oauth_tokens set scope = 'Mail.Read Calendars.Read'`)
  const kinds = async () =>
    (
      await db.db.rows<{ kind: string; state: string }>(
        sql`select kind, case when state = 'stopped' then 'stopped' else 'watched' end as state from auth.subscriptions
             where connection_id = ${connectionId} order by kind, created_at`,
      )
    ).map(({ kind, state }) => `${kind} ${state}`)
  const startedWith = async (watch: string, expected: readonly string[]) => {
    const world = await openWorld({
      environment: { MICROSOFT_WATCH: watch, ENCRYPTION_KEY },
      database: { ...db, close: async () => undefined },
    })
    try {
      await until(`what ${watch} wants`, async () => `${await kinds()}` === `${expected}`)
    } finally {
      await world.close()
    }
  }
  await startedWith('mail', ['mail watched'])
  await startedWith('calendar', ['calendar watched', 'mail stopped'])
  expect(await db.db.rows(sql`select resource from auth.subscription_stops`)).toEqual([
    { resource: 'me/messages' },
  ])
  await startedWith('mail,calendar', ['calendar watched', 'mail stopped', 'mail watched'])
  await startedWith('none', ['calendar stopped', 'mail stopped', 'mail stopped'])
})
