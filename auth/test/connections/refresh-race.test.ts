/** One refresh for all callers of all processes, and what happens when its holder dies in the middle. */
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { RefreshNeeds } from '../../src/connections/refresh.ts'
import { sql } from '../../src/db/sql.ts'
import { until } from '../http/people.ts'
import { openRefreshGround, type RefreshGround, renewed } from './refresh-ground.ts'

let g: RefreshGround
beforeAll(async () => {
  g = await openRefreshGround()
})
afterAll(() => g.shut())
beforeEach(() => g.reset())

const textOf = (read: { kind: string; accessToken?: { reveal(): string } }) =>
  read.accessToken?.reveal() ?? read.kind

describe('one refresh over all processes', () => {
  test('RE-09 3 instances with 30 callers each on one expiring token: 1 request, all answered, no transaction open meanwhile', async () => {
    const instances = [g.instance(), g.instance(), g.instance()]
    const id = await g.seed({ leftSeconds: 20 })
    const transactions: unknown[] = []
    g.behaviour.refresh = async () => {
      for (let i = 0; i < 10; i += 1) {
        await pause(50)
        transactions.push(
          ...(await g.db.rows(sql`
            select pid, state, query from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid()
               and (state like 'idle in transaction%' or (state = 'active' and xact_start < now() - interval '40 ms'))`)),
        )
      }
      return renewed(g, 'access-2')
    }
    const reads = await Promise.all(
      instances.flatMap(({ reader }) => Array.from({ length: 30 }, () => reader.read(id, 60))),
    )
    expect(g.asked).toEqual(['refresh-1'])
    expect(reads).toHaveLength(90)
    expect(new Set(reads.map(textOf))).toEqual(new Set(['access-2']))
    expect(transactions).toEqual([])
    expect(await g.connection(id)).toMatchObject({ status: 'active', version: 2 })
    expect(await g.due(id)).toMatchObject({ lease_id: null, claims: 0, attempts: 0 })
  })

  test('RE-09 a worker that refreshes ahead and readers of two other processes share the one request', async () => {
    const [a, b, c] = [g.instance(), g.instance(), g.instance()]
    const id = await g.seed({ leftSeconds: 20, due: true })
    g.behaviour.refresh = async () => {
      await pause(200)
      return renewed(g, 'access-2')
    }
    const [, ...reads] = await Promise.all([a.work(), ...[b, c].map(({ reader }) => reader.read(id, 60))])
    expect(g.asked).toHaveLength(1)
    expect(reads.map(textOf)).toEqual(['access-2', 'access-2'])
  })

  test('T16 thirty callers of one process share one wait: the lease is asked for once', async () => {
    const { needs } = g.instance()
    let leases = 0
    const db: RefreshNeeds['db'] = {
      ...needs.db,
      rows: (query, prepared) => {
        if (query.text.includes('insert into auth.refreshes')) leases += 1
        return needs.db.rows(query, prepared)
      },
    }
    const { reader } = g.instance({ db })
    const id = await g.seed({ leftSeconds: 20 })
    g.behaviour.refresh = async () => {
      await pause(200)
      return renewed(g, 'access-2')
    }
    const reads = await Promise.all(Array.from({ length: 30 }, () => reader.read(id, 60)))
    expect(new Set(reads.map(textOf))).toEqual(new Set(['access-2']))
    expect(leases).toBe(1)
  })

  test('IA-07 reads that come together share statements, and each gets the token and the state of its own connection', async () => {
    const { reader, db } = g.instance()
    const owner = await g.user('owner@example.com')
    const ids: string[] = []
    for (let i = 0; i < 60; i += 1) ids.push(await g.seed({ ownerId: owner, leftSeconds: 3_000 + i }))
    await db.rows(sql`update auth.oauth_tokens set status = 'revoked' where id = ${ids[30] ?? ''}`)
    const wanted = [...ids, 'con_unknown', ...ids]
    const caller = { actor: 'service', scope: { kind: 'all' } } as const
    const reads = await Promise.all(wanted.map((id) => reader.readFor(caller, id, 60)))
    const expiries = new Map(
      (
        await db.rows<{ id: string; expires_at: Date }>(sql`select id, expires_at from auth.oauth_tokens`)
      ).map((row) => [row.id, row.expires_at.getTime()]),
    )
    for (const [i, read] of reads.entries()) {
      const id = wanted[i] ?? ''
      if (id === 'con_unknown') expect(read).toEqual({ kind: 'unknown' })
      else if (id === ids[30]) expect(read).toMatchObject({ kind: 'unusable', status: 'revoked' })
      else expect(read.kind === 'token' && read.expiresAt.getTime()).toBe(expiries.get(id))
    }
    const audited = await g.audited('token.read')
    expect(audited).toHaveLength(118)
    // a limited caller reads only within its limits, also beside those who may read everything
    const limited = {
      actor: 'caller:n8n',
      scope: { kind: 'limited', providers: ['microsoft'], users: [], connections: [] },
    } as const
    const both = await Promise.all([
      reader.readFor(caller, ids[0] ?? '', 60),
      reader.readFor(limited, ids[0] ?? '', 60),
    ])
    expect(both.map(({ kind }) => kind)).toEqual(['token', 'unknown'])
  })

  test('IA-07 a token that cannot be audited does not leave', async () => {
    const { needs } = g.instance()
    const db: RefreshNeeds['db'] = {
      ...needs.db,
      rows: (query, prepared) =>
        query.text.includes('insert into auth.audit')
          ? Promise.reject(Object.assign(new Error('no audit'), { code: 'no_audit' }))
          : needs.db.rows(query, prepared),
    }
    const id = await g.seed({ leftSeconds: 3_000 })
    const caller = { actor: 'service', scope: { kind: 'all' } } as const
    await expect(g.instance({ db }).reader.readFor(caller, id, 60)).rejects.toThrow('no audit')
    expect(await g.instance().reader.readFor(caller, id, 60)).toMatchObject({ kind: 'token' })
  })

  test('T16 callers that come one after another ask once: the second finds what the first got', async () => {
    const { reader } = g.instance()
    const id = await g.seed({ leftSeconds: 20 })
    g.behaviour.refresh = async () => renewed(g, 'access-2')
    await reader.read(id, 60)
    expect(textOf(await g.instance().reader.read(id, 60))).toBe('access-2')
    expect(g.asked).toHaveLength(1)
  })

  test('tokens that never live as long as asked are not refreshed at each read', async () => {
    const { reader } = g.instance()
    const id = await g.seed({ leftSeconds: 20 })
    g.behaviour.refresh = async () => renewed(g, 'short', { seconds: 600 })
    for (let i = 0; i < 3; i += 1) expect(textOf(await reader.read(id, 3000))).toBe('short')
    expect(g.asked).toHaveLength(1)
  })

  test('RE-09 a lease that was waited for while its holder committed asks nobody: the tokens are new', async () => {
    const { reader } = g.instance()
    const id = await g.seed()
    g.behaviour.refresh = async () => renewed(g, 'a second request')
    let reading: ReturnType<typeof reader.read> | undefined
    await g.db.transaction(async (holder) => {
      await holder.rows(sql`select 1 from auth.refreshes where id = ${id} for update`)
      await holder.rows(sql`
        update auth.oauth_tokens set version = version + 1, expires_at = auth.clock() + interval '1 hour', issued_at = auth.clock()
         where id = ${id}`)
      await holder.rows(
        sql`update auth.refreshes set due_at = auth.clock() + interval '40 minutes' where id = ${id}`,
      )
      reading = reader.read(id, 60)
      // until it waits for the row
      await until('the reader waits', async () => {
        const waiting = await g.db.rows(
          sql`select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%auth.refreshes as r%'`,
        )
        return waiting.length > 0
      })
    })
    expect(await reading).toMatchObject({ kind: 'token', version: 2 })
    expect(g.asked).toEqual([])
  })

  test.each(['reauth_required', 'revoked', 'vault_error'])(
    'F14 a row that a late reader made again for a connection that is %s: nobody is asked, and the row goes',
    async (status) => {
      const { work } = g.instance()
      const id = await g.seed({ leftSeconds: -5, due: true })
      await g.db.rows(sql`update auth.oauth_tokens set status = ${status} where id = ${id}`)
      expect(await work()).toBe(1)
      expect(g.asked).toEqual([])
      expect(await g.due(id)).toBeUndefined()
      expect(await g.connection(id)).toMatchObject({ status })
    },
  )

  test('a refresh that comes back after a reconnect is dropped: what the user brought stays', async () => {
    const { reader, db } = g.instance()
    const id = await g.seed({ leftSeconds: -5 })
    g.behaviour.refresh = async () => {
      await db.rows(sql`update auth.oauth_tokens set version = version + 1, expires_at = auth.clock() + interval '1 hour',
        issued_at = auth.clock() where id = ${id}`)
      return renewed(g, 'stale')
    }
    expect(textOf(await reader.read(id, 60))).toBe('access-1')
    expect(await g.connection(id)).toMatchObject({ version: 2 })
  })
})

describe('the holder dies', () => {
  /** The process ends between the answer and the commit: its transactions never commit, and it does nothing more. */
  const dying = () => {
    const { needs } = g.instance()
    const db: RefreshNeeds['db'] = {
      ...needs.db,
      transaction: () => Promise.reject(Object.assign(new Error('killed'), { code: 'killed' })),
    }
    return g.instance({ db })
  }

  test('RE-09 killed in the middle of its request: others get no second request before the lease is over, and recover after it', async () => {
    const holder = g.instance()
    const id = await g.seed({ leftSeconds: 20, due: true })
    // a claim that is never run is a process that was killed after it
    const claimed = await holder.kind.claim(holder.db, { id: crypto.randomUUID(), seconds: 30, limit: 5 })
    expect(claimed).toHaveLength(1)
    g.behaviour.refresh = async () => renewed(g, 'access-2')
    const { reader, work } = g.instance()
    expect(await work()).toBe(0)
    expect(g.asked).toEqual([])
    // the lease goes on for most of its time …
    await g.db.rows(
      sql`update auth.refreshes set lease_until = auth.clock() + interval '1 second' where id = ${id}`,
    )
    const before = performance.now()
    expect(textOf(await reader.read(id, 60))).toBe('access-2')
    // … and who waits takes it over when it is past
    expect(performance.now() - before).toBeGreaterThan(700)
    expect(g.asked).toEqual(['refresh-1'])
  })

  test('a lease that outlives the patience of a reader: a token that is still valid is served, else it is told when to come', async () => {
    const valid = await g.seed({ leftSeconds: 50 })
    const over = await g.seed({ leftSeconds: -5 })
    await g.db.rows(
      sql`update auth.refreshes set lease_until = auth.clock() + interval '30 seconds', lease_id = gen_random_uuid()`,
    )
    // a clock that runs a second with each look: the wait is bounded by it
    let now = 0
    const { reader } = g.instance({ monotonicMs: () => (now += 1_000) })
    expect(textOf(await reader.read(valid, 60))).toBe('access-1')
    const refused = await reader.read(over, 60)
    expect(refused).toMatchObject({ kind: 'unavailable' })
    if (refused.kind === 'unavailable') {
      expect(refused.retryAfterSeconds).toBeGreaterThan(1)
      expect(refused.retryAfterSeconds).toBeLessThanOrEqual(30)
    }
    expect(g.asked).toEqual([])
  })

  test('RE-11 F16 Google and Microsoft: the answer is lost, the earlier token still works, the next refresh succeeds', async () => {
    const id = await g.seed({ leftSeconds: 20 })
    let answers = 0
    // Microsoft's model: each answer brings a new refresh token and the earlier one stays valid
    g.behaviour.refresh = async () => {
      answers += 1
      return renewed(g, `access-${answers + 1}`, { refreshToken: `refresh-${answers + 1}` })
    }
    await expect(dying().reader.read(id, 60)).rejects.toThrow('killed')
    expect(await g.connection(id)).toMatchObject({ status: 'active', version: 1 })
    expect(await g.instance().work()).toBe(0)
    await g.later(31)
    expect(textOf(await g.instance().reader.read(id, 60))).toBe('access-3')
    expect(g.asked).toEqual(['refresh-1', 'refresh-1'])
    await g.later(3_590)
    await g.instance().reader.read(id, 60)
    expect(g.asked.at(-1)).toBe('refresh-3')
  })

  test('RE-11 F16 strict rotation: reauth_required once, and never a loop', async () => {
    const id = await g.seed({ leftSeconds: 20 })
    let current = 'refresh-1'
    g.behaviour.refresh = async ({ refreshToken }) => {
      if (refreshToken.reveal() !== current)
        return { kind: 'failed', failure: { class: 'permanent', code: 'invalid_grant' } }
      current = 'refresh-2'
      return renewed(g, 'access-2', { refreshToken: current })
    }
    await expect(dying().reader.read(id, 60)).rejects.toThrow('killed')
    await g.later(31)
    const { reader, work } = g.instance()
    for (let i = 0; i < 3; i += 1) {
      expect(await reader.read(id, 60)).toMatchObject({ kind: 'unusable', status: 'reauth_required' })
      await g.later(3_600)
      expect(await work()).toBe(0)
    }
    expect(g.asked).toHaveLength(2)
    expect((await g.events()).map(({ type }) => type)).toEqual(['connection.v1.reauth_required'])
  })

  test('a refresh whose lease is nearly over does not begin: somebody else may have', async () => {
    const id = await g.seed({ leftSeconds: 50 })
    let now = 0
    const { reader } = g.instance({ monotonicMs: () => (now += 20_000) })
    g.behaviour.refresh = async () => renewed(g, 'access-2')
    expect(textOf(await reader.read(id, 60))).toBe('access-1')
    expect(g.asked).toEqual([])
    expect(await g.due(id)).toMatchObject({ lease_id: null })
  })
})
