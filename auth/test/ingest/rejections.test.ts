/** The sample of what was not genuine: bounded in rate and number, without a value of anything. */
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { openRejectionSample } from '../../src/ingest/rejection-sample.ts'
import { deleteOldRejections, KEPT_EACH, listRejections } from '../../src/ingest/rejection-store.ts'
import { openLog } from '../../src/platform/log.ts'
import { type TestDatabase, testDatabase } from '../database.ts'

describe('rejected requests', () => {
  let t: TestDatabase
  let now = 0
  beforeAll(async () => {
    t = await testDatabase()
  })
  afterAll(() => t.close())
  beforeEach(async () => {
    now = 0
    await t.db.rows(sql`truncate auth.rejections`)
  })
  const open = (db = t.db) =>
    openRejectionSample({ db, monotonicMs: () => now, log: openLog({ write: () => {} }) })

  test('keep names of headers, length and hash, and nothing else', async () => {
    const body = Buffer.from('{"secret":"body"}')
    await open()('google', 'bad_channel_token', ['x-goog-channel-token', 'bad name\n', 'a'.repeat(65)], body)
    expect(await listRejections(t.db)).toEqual([
      {
        id: expect.any(String),
        at: expect.any(Date),
        provider: 'google',
        reason: 'bad_channel_token',
        header_names: ['x-goog-channel-token'],
        body_bytes: body.length,
        body_sha256: createHash('sha256').update(body).digest('hex'),
      },
    ])
    now += 1_000
    await open()('google', 'bad_ref', [], undefined)
    expect((await listRejections(t.db))[0]).toMatchObject({ body_bytes: null, body_sha256: null })
  })

  test('one a second for each provider and reason, and a few in all: a flood is no flood of writes', async () => {
    const sample = open()
    for (let n = 0; n < 1_000; n += 1) await sample('microsoft', 'bad_client_state', [], undefined)
    expect(await listRejections(t.db)).toHaveLength(1)
    for (let n = 0; n < 100; n += 1) await sample('microsoft', `reason_${n}`, [], undefined)
    expect(await listRejections(t.db)).toHaveLength(5)
    now += 1_000
    await sample('microsoft', 'bad_client_state', [], undefined)
    expect(await listRejections(t.db)).toHaveLength(6)
  })

  test('the newest of each provider and reason are kept, for a month', async () => {
    const sample = open()
    await sample('google', 'other', [], undefined)
    for (let n = 0; n < KEPT_EACH + 5; n += 1) {
      now += 1_000
      await sample('google', 'bad_ref', [`x-${n}`], undefined)
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

  test('a database that is away loses the sample and nothing more', async () => {
    const away = { ...t.db, rows: () => Promise.reject(new Error('away')) }
    await expect(open(away)('google', 'bad_ref', [], undefined)).resolves.toBeUndefined()
  })
})
