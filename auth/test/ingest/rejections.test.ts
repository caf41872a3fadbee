/** The sample of what was not genuine: bounded in rate and number, without a value of anything. */
import { createHash } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { openRejectionSample, type RejectionSample } from '../../src/ingest/rejection-sample.ts'
import {
  deleteOldRejections,
  KEPT_EACH,
  listRejectionCounts,
  listRejections,
} from '../../src/ingest/rejection-store.ts'
import { openLog } from '../../src/platform/log.ts'
import { type TestDatabase, testDatabase } from '../database.ts'
import { until } from '../http/people.ts'

describe('rejected requests', () => {
  let t: TestDatabase
  let now = 0
  beforeAll(async () => {
    t = await testDatabase()
  })
  afterAll(() => t.close())
  beforeEach(async () => {
    now = 0
    await t.db.rows(sql`truncate auth.rejections, auth.rejection_counts`)
  })
  // what one of them counts late must not reach the next test
  const opened: RejectionSample[] = []
  afterEach(() => Promise.all(opened.splice(0).map((one) => one.close())))
  const open = (db = t.db) => {
    const one = openRejectionSample({ db, monotonicMs: () => now, log: openLog({ write: () => {} }) })
    opened.push(one)
    return one
  }

  test('keep names of headers, length and hash, and nothing else', async () => {
    const body = Buffer.from('{"secret":"body"}')
    const headerNames = ['x-goog-channel-token', 'bad name\n', 'a'.repeat(65)]
    await open().take({
      provider: 'google',
      reason: 'bad_channel_token',
      headerNames,
      body,
      subscriptionId: 'sub_1',
    })
    expect(await listRejections(t.db)).toEqual([
      {
        id: expect.any(String),
        at: expect.any(Date),
        provider: 'google',
        reason: 'bad_channel_token',
        header_names: ['x-goog-channel-token'],
        body_bytes: body.length,
        body_sha256: createHash('sha256').update(body).digest('hex'),
        subscription_id: 'sub_1',
      },
    ])
    now += 1_000
    await open().take({ provider: 'google', reason: 'bad_ref', headerNames: [] })
    expect((await listRejections(t.db))[0]).toMatchObject({
      body_bytes: null,
      body_sha256: null,
      subscription_id: null,
    })
  })

  test('one a second for each provider and reason, and a few in all: a flood is no flood of writes', async () => {
    const { take } = open()
    for (let n = 0; n < 1_000; n += 1)
      await take({ provider: 'microsoft', reason: 'bad_client_state', headerNames: [] })
    expect(await listRejections(t.db)).toHaveLength(1)
    for (let n = 0; n < 100; n += 1)
      await take({ provider: 'microsoft', reason: `reason_${n}`, headerNames: [] })
    expect(await listRejections(t.db)).toHaveLength(5)
    now += 1_000
    await take({ provider: 'microsoft', reason: 'bad_client_state', headerNames: [] })
    expect(await listRejections(t.db)).toHaveLength(6)
  })

  test('a stranger who is refused for many reasons hides no other sender: what was not sampled lately has its share', async () => {
    const { take, close } = open()
    for (let second = 0; second < 125; second += 1, now += 1_000) {
      for (let n = 0; n < 60; n += 1)
        await take({ provider: 'google', reason: `reason_${n % 12}`, headerNames: [] })
      await take({ provider: 'google', reason: 'wrong_audience', headerNames: [] })
    }
    const rows = await t.db.rows<{ reason: string; n: string }>(
      sql`select reason, count(*)::int as n from auth.rejections group by reason`,
    )
    const sampled = new Map(rows.map(({ reason, n }) => [reason, Number(n)]))
    expect(sampled.size).toBe(13)
    expect(sampled.get('wrong_audience')).toBeGreaterThanOrEqual(2)
    await close()
    const sums = await listRejectionCounts(t.db)
    expect(sums.reduce((sum, { sampled }) => sum + sampled, 0)).toBeLessThanOrEqual(5 * 125)
  })

  test('the newest of each provider and reason are kept, for a month', async () => {
    const { take } = open()
    await take({ provider: 'google', reason: 'other', headerNames: [] })
    for (let n = 0; n < KEPT_EACH + 5; n += 1) {
      now += 1_000
      await take({ provider: 'google', reason: 'bad_ref', headerNames: [`x-${n}`] })
    }
    const kept = (await listRejections(t.db)).filter(({ reason }) => reason === 'bad_ref')
    expect(kept.map(({ header_names }) => header_names[0])).toEqual(
      Array.from({ length: KEPT_EACH }, (_, i) => `x-${KEPT_EACH + 4 - i}`),
    )
    expect(await listRejections(t.db)).toHaveLength(KEPT_EACH + 1)
    await t.db.rows(
      sql`update auth.rejections set at = auth.clock() - interval '31 days' where reason = 'other'`,
    )
    await deleteOldRejections(t.db)
    expect(await listRejections(t.db)).toHaveLength(KEPT_EACH)
  })

  test('all are counted by day, sampled or not, by several processes together', async () => {
    const [one, other] = [open(), open()]
    for (let n = 0; n < 100; n += 1) {
      await one.take({ provider: 'microsoft', reason: 'bad_client_state', headerNames: [] })
      await other.take({ provider: 'microsoft', reason: 'bad_client_state', headerNames: [] })
    }
    await one.take({ provider: 'google', reason: 'bad_ref', headerNames: [] })
    await Promise.all([one.close(), other.close()])
    const kind = { day: expect.stringMatching(/^\d{4}-\d\d-\d\d$/), last_at: expect.any(Date) }
    expect(await listRejectionCounts(t.db)).toEqual([
      { ...kind, provider: 'microsoft', reason: 'bad_client_state', rejected: 200, sampled: 2 },
      { ...kind, provider: 'google', reason: 'bad_ref', rejected: 1, sampled: 1 },
    ])
    await t.db.rows(sql`update auth.rejection_counts set day = day - 31 where reason = 'bad_ref'`)
    await deleteOldRejections(t.db)
    expect(await listRejectionCounts(t.db)).toHaveLength(1)
  })

  test('a count that cannot be written is written later', async () => {
    let isAway = true
    let failures = 0
    const rows: typeof t.db.rows = (query) => {
      if (!isAway) return t.db.rows(query)
      failures += 1
      return Promise.reject(new Error('away'))
    }
    const { take } = open({ ...t.db, rows })
    for (let n = 0; n < 3; n += 1) await take({ provider: 'google', reason: 'bad_ref', headerNames: [] })
    await until('a try has failed', () => failures > 1)
    isAway = false
    await take({ provider: 'google', reason: 'bad_ref', headerNames: [] })
    const counts = () => listRejectionCounts(t.db)
    await until('they are counted', async () => (await counts()).length > 0)
    expect(await counts()).toMatchObject([{ rejected: 4, sampled: 1 }])
  })

  test('a database that is away loses the sample and nothing more', async () => {
    const away = { ...t.db, rows: () => Promise.reject(new Error('away')) }
    const refused = { provider: 'google', reason: 'bad_ref', headerNames: [] }
    await expect(open(away).take(refused)).resolves.toBeUndefined()
  })
})
