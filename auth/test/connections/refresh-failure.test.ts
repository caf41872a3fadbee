/** What a failed refresh does to its connection, by the class of the failure; and what a damaged row does. */
import type { Failure } from '@flovify/providers'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { retryInSeconds } from '../../src/connections/refresh-schedule.ts'
import { type ConnectionStatus, isLegal } from '../../src/connections/transition.ts'
import { sql } from '../../src/db/sql.ts'
import { failing, openRefreshGround, type RefreshGround, renewed } from './refresh-ground.ts'

let g: RefreshGround
beforeAll(async () => {
  g = await openRefreshGround()
})
afterAll(() => g.shut())
beforeEach(() => g.reset())

const DAY = 86_400

interface Row {
  readonly failure: Failure
  readonly status: ConnectionStatus
  readonly reason: string | null
  /** Seconds until the next try; none when only somebody's deed helps. */
  readonly again: readonly [number, number] | undefined
  /** What a reader of a token that is over is told. */
  readonly told: 'unusable' | 'unavailable'
}

const gone = (code: string, failureClass: 'permanent' | 'needs_user'): Row => ({
  failure: { class: failureClass, code },
  status: 'reauth_required',
  reason: code,
  again: undefined,
  told: 'unusable',
})
const TABLE: readonly Row[] = [
  gone('invalid_grant', 'permanent'),
  gone('AADSTS50173', 'permanent'),
  gone('invalid_rapt', 'needs_user'),
  gone('AADSTS50076', 'needs_user'),
  {
    failure: { class: 'needs_admin', code: 'admin_policy_enforced' },
    status: 'admin_required',
    reason: 'admin_policy_enforced',
    again: [0.85 * DAY, 1.15 * DAY],
    told: 'unusable',
  },
  {
    failure: { class: 'our_configuration', code: 'invalid_client' },
    status: 'active',
    reason: null,
    again: [50, 301],
    told: 'unavailable',
  },
  {
    failure: { class: 'transient', code: 'http_503' },
    status: 'active',
    reason: null,
    again: [-2, 4],
    told: 'unavailable',
  },
  {
    failure: { class: 'transient', code: 'http_503', retryAfterSeconds: 120 },
    status: 'active',
    reason: null,
    again: [110, 130],
    told: 'unavailable',
  },
  {
    failure: { class: 'throttled', code: 'http_429' },
    status: 'active',
    reason: null,
    again: [55, 70],
    told: 'unavailable',
  },
  {
    failure: { class: 'throttled', code: 'http_429', retryAfterSeconds: 1_800 },
    status: 'active',
    reason: null,
    again: [1_790, 1_810],
    told: 'unavailable',
  },
]

describe('failure classes', () => {
  test.each(TABLE)('RE-08 $failure.class $failure.code: $status', async (row) => {
    const { reader } = g.instance()
    const id = await g.seed({ leftSeconds: -1 })
    g.behaviour.refresh = failing(row.failure)
    expect(await reader.read(id, 60)).toMatchObject({ kind: row.told })
    expect(await g.connection(id)).toMatchObject({
      status: row.status,
      status_reason: row.reason,
      version: 1,
    })
    const due = await g.due(id)
    if (row.again === undefined) expect(due).toBeUndefined()
    else {
      expect(due?.in_seconds).toBeGreaterThan(row.again[0])
      expect(due?.in_seconds).toBeLessThan(row.again[1])
      expect(due).toMatchObject({ attempts: 1, claims: 0, lease_id: null })
    }
    const changed = row.status !== 'active'
    expect(await g.events()).toEqual(
      changed
        ? [
            {
              type: 'connection.v1.reauth_required',
              data: {
                connection: { id, provider: 'google', account: 'bob@example.com' },
                status: row.status,
                reason: row.reason,
              },
            },
          ]
        : [],
    )
    expect(await g.audited(`connection.${row.status}`)).toEqual(
      changed ? [{ subject: id, detail: { provider: 'google', from: 'active', reason: row.reason } }] : [],
    )
    // nobody asks again before its time
    await g.instance().reader.read(id, 60)
    expect(g.asked).toHaveLength(1)
  })

  test('F14 invalid_grant is believed only after the row was read again: newer tokens there are used', async () => {
    const { reader, db } = g.instance()
    const id = await g.seed({ leftSeconds: -1 })
    g.behaviour.refresh = async () => {
      await db.rows(sql`update auth.oauth_tokens set version = version + 1, expires_at = auth.clock() + interval '1 hour',
        issued_at = auth.clock() where id = ${id}`)
      return { kind: 'failed', failure: { class: 'permanent', code: 'invalid_grant' } }
    }
    expect(await reader.read(id, 60)).toMatchObject({ kind: 'token' })
    expect(await g.connection(id)).toMatchObject({ status: 'active', status_reason: null })
    expect(await g.events()).toEqual([])
  })

  test('F14 thirty callers and a worker on a dead grant: one request, one event', async () => {
    const [a, b] = [g.instance(), g.instance()]
    const id = await g.seed({ leftSeconds: -1, due: true })
    g.behaviour.refresh = failing({ class: 'permanent', code: 'invalid_grant' })
    const reads = await Promise.all(Array.from({ length: 30 }, () => a.reader.read(id, 60)))
    await b.work()
    expect(new Set(reads.map(({ kind }) => kind))).toEqual(new Set(['unusable']))
    expect(g.asked).toHaveLength(1)
    expect(await g.events()).toHaveLength(1)
  })

  test('needs_admin is tried again daily and comes back by itself, with its event', async () => {
    const { reader, work } = g.instance()
    const id = await g.seed({ leftSeconds: -1 })
    g.behaviour.refresh = failing({ class: 'needs_admin', code: 'AADSTS90094' })
    await reader.read(id, 60)
    expect(await work()).toBe(0)
    await g.later(1.15 * DAY)
    expect(await work()).toBe(1)
    expect(await g.connection(id)).toMatchObject({ status: 'admin_required' })
    expect(await g.events()).toHaveLength(1)
    g.behaviour.refresh = async () => renewed(g, 'access-2')
    await g.later(1.15 * DAY)
    expect(await work()).toBe(1)
    expect(g.asked).toHaveLength(3)
    expect(await g.connection(id)).toMatchObject({ status: 'active', status_reason: null, version: 2 })
    expect((await g.events()).map(({ type, data }) => [type, data.status])).toEqual([
      ['connection.v1.reauth_required', 'admin_required'],
      ['connection.v1.reauthorized', 'active'],
    ])
    expect(await reader.read(id, 60)).toMatchObject({ kind: 'token' })
  })

  test('our configuration: one line for each cause over all processes until it is repaired, connections as they are; the metric counts each', async () => {
    const [a, b] = [g.instance(), g.instance()]
    for (let i = 0; i < 6; i += 1) await g.seed({ provider: 'microsoft', due: true })
    g.behaviour.refresh = failing({ class: 'our_configuration', code: 'AADSTS7000215' })
    const errors = () => g.lines.filter((line) => line.includes('"level":"error"'))
    await Promise.all([a.work(3), b.work(3)])
    await a.work()
    expect(g.asked).toHaveLength(6)
    expect(errors()).toHaveLength(1)
    expect(errors()[0]).toContain('AADSTS7000215')
    expect((await g.metrics.page()).body).toContain(
      'flovify_token_refresh_failures_total{provider="microsoft",class="our_configuration"} 6',
    )
    expect(await g.alarms()).toEqual([{ provider: 'microsoft', code: 'AADSTS7000215' }])
    // a day of tries adds no line; another cause does
    for (let i = 0; i < 10; i += 1) {
      await g.later(301)
      expect(await b.work()).toBeGreaterThan(0)
    }
    expect(errors()).toHaveLength(1)
    g.behaviour.refresh = failing({ class: 'our_configuration', code: 'AADSTS7000222' })
    await g.later(301)
    await a.work()
    expect(errors()).toHaveLength(2)
    const rows = await g.db.rows<{ status: string }>(sql`select distinct status from auth.oauth_tokens`)
    expect(rows).toEqual([{ status: 'active' }])
    expect(await g.events()).toEqual([])
    // repaired: told once it has not come back for ten minutes, and from then on a new refusal is a new alarm
    g.behaviour.refresh = async () => renewed(g, 'access-2', { seconds: 600 })
    await g.later(301)
    await a.work()
    expect(await g.alarms()).toEqual([{ provider: 'microsoft', code: 'AADSTS7000222' }])
    await g.later(601)
    await a.work()
    expect(await g.alarms()).toEqual([])
    expect(g.lines.filter((line) => line.includes('accepts our credentials'))).toHaveLength(2)
    g.behaviour.refresh = failing({ class: 'our_configuration', code: 'AADSTS7000222' })
    await g.later(601)
    await b.work()
    expect(errors()).toHaveLength(3)
  })

  test('a provider that breaks instead of answering is transient, and nothing of its error is told', async () => {
    const { reader } = g.instance()
    const id = await g.seed({ leftSeconds: -1 })
    g.behaviour.refresh = () => Promise.reject(new Error('canary of a request'))
    expect(await reader.read(id, 60)).toMatchObject({ kind: 'unavailable' })
    expect(await g.connection(id)).toMatchObject({ status: 'active' })
    expect(g.lines.join('')).not.toContain('canary')
  })

  test('without a refresh token a connection lasts as long as its access token, and then needs its user', async () => {
    const { reader, work } = g.instance()
    const id = await g.seed({ leftSeconds: 50, refreshToken: null, due: true })
    expect(await work()).toBe(1)
    expect(await reader.read(id, 60)).toMatchObject({ kind: 'token' })
    await g.later(52)
    expect(await work()).toBe(1)
    expect(await g.connection(id)).toMatchObject({
      status: 'reauth_required',
      status_reason: 'no_refresh_token',
    })
    expect(g.asked).toEqual([])
  })

  test('a grant that shrank is partial, and says what is gone', async () => {
    const { reader } = g.instance()
    const id = await g.seed({ scope: 'openid offline_access mail.read files.read' })
    g.behaviour.refresh = async () => renewed(g, 'access-2', { scopes: ['mail.read'] })
    await reader.read(id, 60)
    expect(await g.connection(id)).toMatchObject({
      status: 'partial',
      status_reason: 'scopes_missing',
      scope: 'openid offline_access mail.read',
    })
    expect(await g.events()).toMatchObject([
      { type: 'connection.v1.scopes_changed', data: { status: 'partial', removed: ['files.read'] } },
    ])
  })

  test('OA-11 what needs a scope that is gone is not subscribed any more', async () => {
    const { reader } = g.instance()
    const id = await g.seed({ scope: 'openid offline_access mail.read files.read' })
    await g.db.rows(sql`
      insert into auth.subscriptions (id, connection_id, provider, kind, resource, state)
      values ('sub_mail', ${id}, 'google', 'mail', 'me/messages', 'active')`)
    g.behaviour.refresh = async () => renewed(g, 'access-2', { scopes: ['files.read'] })
    await reader.read(id, 60)
    expect(await g.db.one(sql`select state from auth.subscriptions where id = 'sub_mail'`)).toEqual({
      state: 'stopped',
    })
  })

  test('an earlier refresh token is kept when the answer has none, and replaced when it has one', async () => {
    const { reader } = g.instance()
    const id = await g.seed()
    const answers = [renewed(g, 'a2'), renewed(g, 'a3', { refreshToken: 'refresh-2' }), renewed(g, 'a4')]
    g.behaviour.refresh = async () => {
      const answer = answers.shift()
      if (answer === undefined) throw new Error('asked too often')
      return answer
    }
    for (let i = 0; i < 3; i += 1) {
      await reader.read(id, 60)
      await g.db.rows(sql`update auth.oauth_tokens set expires_at = auth.clock() + interval '5 seconds'`)
    }
    expect(g.asked).toEqual(['refresh-1', 'refresh-1', 'refresh-2'])
  })
})

describe('TV-07 a damaged row', () => {
  test.each(['refresh_token', 'access_token'])(
    'TV-07 %s swapped with another row: only that connection is vault_error, the provider is not asked',
    async (column) => {
      const { reader } = g.instance()
      const mine = await g.seed({ leftSeconds: 30 })
      const his = await g.seed({ leftSeconds: 3_000 })
      const name =
        column === 'refresh_token' ? sql`refresh_token = o.refresh_token` : sql`access_token = o.access_token`
      await g.db.rows(
        sql`update auth.oauth_tokens t set ${name} from auth.oauth_tokens o where t.id = ${mine} and o.id = ${his}`,
      )
      expect(await reader.read(mine, 60)).toMatchObject({ kind: 'unusable', status: 'vault_error' })
      expect(await g.connection(mine)).toMatchObject({ status: 'vault_error', version: 1 })
      expect(await reader.read(his, 60)).toMatchObject({ kind: 'token' })
      expect(g.asked).toEqual([])
      expect(await g.due(mine)).toBeUndefined()
      expect(await g.events()).toMatchObject([
        { type: 'connection.v1.reauth_required', data: { status: 'vault_error', reason: 'vault_error' } },
      ])
      expect(await g.audited('connection.vault_error')).toHaveLength(1)
      expect(g.lines.filter((line) => line.includes('"level":"error"'))).toHaveLength(1)
    },
  )
})

describe('pure rules', () => {
  test('only legal ways between states', () => {
    expect(isLegal('revoked', 'reauth_required')).toBe(false)
    expect(isLegal('revoked', 'vault_error')).toBe(false)
    expect(isLegal('revoking', 'active')).toBe(true)
    expect(isLegal('revoking', 'reauth_required')).toBe(false)
    expect(isLegal('vault_error', 'reauth_required')).toBe(false)
    expect(isLegal('admin_required', 'active')).toBe(true)
  })

  test('F13 a transient failure is never put off beyond five minutes, however often it happened; F15 never before Retry-After', () => {
    for (const failures of [1, 2, 5, 10, 50, 10_000])
      for (const random of [0, 0.5, 0.999]) {
        expect(retryInSeconds({ class: 'transient', code: 'x' }, failures, random)).toBeLessThanOrEqual(300)
        for (const failureClass of ['transient', 'throttled'] as const)
          expect(
            retryInSeconds({ class: failureClass, code: 'x', retryAfterSeconds: 100 }, failures, random),
          ).toBeGreaterThanOrEqual(100)
      }
  })
})
