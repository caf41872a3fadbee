/** One refresh over three real processes, and what is left of one whose process was killed in the middle. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createTestDatabase, type TestDatabase } from '@flovify/local/test-database'
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest'
import { openRefreshWorld, type RefreshWorld } from '../../src/refresh-world.ts'
import type { ProviderName } from '../../src/seed-grants.ts'

/** REFRESH_LEASE_SECONDS of auth/src/connections/refresh.ts, with time for the request. */
const LEASE_MS = 30_000
let database: TestDatabase
let directory: string
let world: RefreshWorld

beforeAll(async () => {
  database = await createTestDatabase(inject('postgresUrl'))
  directory = await mkdtemp(join(tmpdir(), 'flovify-refresh-'))
  world = await openRefreshWorld(database.url, directory, 3)
  await Promise.all([0, 1, 2].map((which) => world.start(which)))
}, 120_000)
afterAll(async () => {
  await world.close()
  await database.drop()
  await rm(directory, { recursive: true, force: true })
}, 60_000)
beforeEach(() => world.control('/reset', {}))

const one = async (provider: ProviderName, validSeconds: number): Promise<string> => {
  const [id = ''] = await world.seed({ provider, count: 1, validSeconds, due: false })
  return id
}
const connection = async (id: string) =>
  (
    await world.db.query<{ status: string; status_reason: string | null; version: number }>(
      'select status, status_reason, version from auth.oauth_tokens where id = $1',
      [id],
    )
  ).rows[0]
const until = async (what: () => Promise<boolean>, withinMs: number): Promise<boolean> => {
  for (const end = Date.now() + withinMs; Date.now() < end; await sleep(25)) if (await what()) return true
  return false
}

describe('three processes', () => {
  test.each(['google', 'microsoft'] as const)(
    'RE-09 F20 100 callers each on one expiring token of %s: exactly 1 request at the provider, all 300 answered, no transaction open meanwhile',
    async (provider) => {
      await world.control('/faults', { provider, tokenDelayMs: 1_000 })
      const id = await one(provider, 20)
      const reads = Promise.all(
        Array.from({ length: 300 }, async (_, i) => {
          const answer = await world.read(i % 3, id, 60)
          return { status: answer.status, body: (await answer.json()) as { access_token?: string } }
        }),
      )
      expect(await until(async () => (await world.asked(provider)).requests.length > 0, 5_000)).toBe(true)
      const open: unknown[] = []
      // one held across the call is as old as the call; one that has only begun holds nothing, on a busy machine for longer
      for (let look = 0; look < 12; look += 1) {
        const { rows } = await world.db.query(
          `select state, query from pg_stat_activity
            where datname = current_database() and application_name like 'flovify-%'
              and state like 'idle in transaction%' and query <> 'begin' and xact_start < now() - interval '400 ms'`,
        )
        open.push(...rows)
        await sleep(50)
      }
      const answers = await reads
      expect(open).toEqual([])
      expect(answers.map(({ status }) => status).filter((status) => status !== 200)).toEqual([])
      expect(new Set(answers.map(({ body }) => body.access_token)).size).toBe(1)
      expect((await world.asked(provider)).requests).toHaveLength(1)
      expect(await connection(id)).toMatchObject({ status: 'active', version: 2 })
    },
    60_000,
  )

  test('RE-09 the holder is killed in the middle: the others serve what is valid, and after its lease one more request brings a new token', async () => {
    await world.control('/faults', { provider: 'google', tokenDelayMs: 5_000 })
    const id = await one('google', 58)
    const lost = world.read(0, id, 60).then(
      () => 'answered',
      () => 'cut',
    )
    expect(await until(async () => (await world.asked('google')).requests.length === 1, 5_000)).toBe(true)
    const waiting = Array.from({ length: 100 }, (_, i) => world.read(1 + (i % 2), id, 60))
    await sleep(300)
    await world.kill(0)
    const killedAt = Date.now()
    expect(await lost).toBe('cut')
    await world.control('/faults', { provider: 'google', tokenDelayMs: 0 })
    const statuses = (await Promise.all(waiting)).map(({ status }) => status)
    expect(new Set(statuses)).toEqual(new Set([200]))
    expect(
      await until(async () => {
        const answer = await world.read(1, id, 60)
        expect(answer.status).toBe(200)
        return (await connection(id))?.version === 2
      }, LEASE_MS + 5_000),
    ).toBe(true)
    expect(Date.now() - killedAt).toBeLessThan(LEASE_MS + 5_000)
    expect((await world.asked('google')).requests.length).toBeLessThanOrEqual(2)
    await world.start(0)
  }, 120_000)
})

/**
 * The provider has answered and the process is killed before its commit: somebody else holds the row meanwhile, so the
 * commit waits.
 */
async function killBetweenAnswerAndCommit(provider: ProviderName, id: string): Promise<void> {
  const holder = await world.db.connect()
  try {
    await holder.query('begin')
    await holder.query('select from auth.oauth_tokens where id = $1 for no key update', [id])
    world.read(0, id, 60).catch(() => undefined)
    const answered = async () => (await world.asked(provider)).requests.at(-1)?.status === 200
    expect(await until(answered, 5_000)).toBe(true)
    const blocked = async () =>
      (
        await world.db.query(
          `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
              and query like '%for update%' and application_name like 'flovify-%'`,
        )
      ).rows.length > 0
    expect(await until(blocked, 5_000)).toBe(true)
    await world.kill(0)
  } finally {
    await holder.query('rollback')
    holder.release()
  }
}

describe('the answer is lost: kill -9 between answer and commit', () => {
  const CASES = [
    { provider: 'google', strict: false, what: 'the same refresh token works again' },
    { provider: 'microsoft', strict: false, what: 'the earlier refresh token is still valid' },
    {
      provider: 'microsoft',
      strict: true,
      what: 'strict rotation: reauth_required once, with its reason, and no loop',
    },
  ] as const

  test.each(CASES)(
    'RE-11 F16 $provider: $what',
    async ({ provider, strict }) => {
      await world.start(0)
      await world.control('/faults', { provider, strictRotation: strict })
      const id = await one(provider, 20)
      await killBetweenAnswerAndCommit(provider, id)
      expect(await connection(id)).toMatchObject({ status: 'active', version: 1 })
      // the lease passes: nobody moves the clock while one is held, so the row is given the time of its end
      await world.db.query(
        "update auth.refreshes set lease_until = auth.clock() + interval '300 ms' where id = $1",
        [id],
      )
      const answer = await world.read(1, id, 60)
      expect((await world.asked(provider)).requests).toHaveLength(2)
      if (!strict) {
        expect(answer.status).toBe(200)
        expect(await connection(id)).toMatchObject({ status: 'active', version: 2 })
        return
      }
      expect(answer.status).toBe(409)
      expect(await answer.json()).toMatchObject({ error: 'reauth_required', reason: 'AADSTS70000' })
      for (let again = 0; again < 5; again += 1)
        expect((await world.read(1 + (again % 2), id, 60)).status).toBe(409)
      await sleep(1_000)
      expect((await world.asked(provider)).requests).toHaveLength(2)
      const events = await world.db.query('select type from auth.events where connection_id = $1', [id])
      expect(events.rows).toEqual([{ type: 'ca.flovify.connection.v1.reauth_required' }])
    },
    90_000,
  )
})
