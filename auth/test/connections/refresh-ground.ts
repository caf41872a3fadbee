/** What the tests of refreshing stand on: sealed connections, instances with pools of their own, a provider that counts. */
import type { Failure, Provider, RefreshOutcome, TokenRefresh } from '@flovify/providers'
import { Secret } from '@flovify/providers'
import type { RefreshNeeds } from '../../src/connections/refresh.ts'
import { openFailureReport } from '../../src/connections/refresh-failure.ts'
import { openRefreshLimits } from '../../src/connections/refresh-limits.ts'
import { openRefreshPace } from '../../src/connections/refresh-pace.ts'
import { plantPaces } from '../../src/connections/refresh-pace-store.ts'
import { scheduleRefresh } from '../../src/connections/refresh-store.ts'
import { refreshWork } from '../../src/connections/refresh-work.ts'
import { insertConnection } from '../../src/connections/store.ts'
import { openTokenReader } from '../../src/connections/token-read.ts'
import { openPool, type Pool } from '../../src/db/pool.ts'
import { sql } from '../../src/db/sql.ts'
import { monotonicMs } from '../../src/platform/clock.ts'
import { newId } from '../../src/platform/ids.ts'
import { type Ground, openGround } from './ground.ts'

export type Refreshing = (request: TokenRefresh) => Promise<RefreshOutcome>

export const failing = (failure: Failure) => async (): Promise<RefreshOutcome> => ({
  kind: 'failed',
  failure,
})

/** An hour from now by the clock of the test. */
export const renewed = (
  g: RefreshGround,
  access: string,
  more: { refreshToken?: string; scopes?: readonly string[]; seconds?: number } = {},
): RefreshOutcome => ({
  kind: 'refreshed',
  tokens: {
    accessToken: new Secret(access),
    refreshToken: more.refreshToken === undefined ? undefined : new Secret(more.refreshToken),
    expiresAt: new Date(Date.now() + g.offsetMs + (more.seconds ?? 3600) * 1000),
    grantedScopes: more.scopes ?? ['openid', 'mail.read'],
  },
})

export interface Seed {
  readonly provider?: string
  /** Seconds that the stored token still lives. */
  readonly leftSeconds?: number
  readonly refreshToken?: string | null
  readonly scope?: string
  readonly due?: boolean
  readonly ownerId?: string
}

export type RefreshGround = Ground & { offsetMs: number } & ReturnType<typeof extend>

export async function openRefreshGround(): Promise<RefreshGround> {
  const g = await openGround()
  await plantPaces(g.db, ['google', 'microsoft', 'strict'])
  const ground = Object.assign(g, { offsetMs: 0 })
  return Object.assign(ground, extend(ground))
}

function extend(g: Ground & { offsetMs: number }) {
  const asked: string[] = []
  const behaviour: { refresh: Refreshing } = { refresh: failing({ class: 'transient', code: 'unused' }) }
  /** Every provider of the ground, refreshing as the test says; each refresh token that came is kept. */
  const provider = (id: string): Provider | undefined => {
    const known = g.provider(id)
    return known === undefined
      ? undefined
      : {
          ...known,
          oauth: {
            ...known.oauth,
            refresh: (request) => {
              asked.push(request.refreshToken.reveal())
              return behaviour.refresh(request)
            },
          },
        }
  }
  const pools: Pool[] = []
  /** As another process would be: its own pool, its own limits, its own memory of who waits. */
  const instance = (over: Partial<RefreshNeeds> & { concurrency?: number } = {}) => {
    const db = openPool({
      url: g.url,
      name: 'work',
      size: 4,
      connectMs: 10_000,
      statementMs: 10_000,
      log: g.log,
    })
    pools.push(db)
    const { concurrency, ...parts } = over
    const clock = parts.monotonicMs ?? monotonicMs
    const needs: RefreshNeeds = {
      subscriptions: g.subscriptions,
      db,
      vault: g.vault,
      ledger: g.ledger,
      provider,
      limits: openRefreshLimits({ monotonicMs: clock }, concurrency),
      pace: openRefreshPace({ db, log: g.log, monotonicMs, random: Math.random }),
      report: openFailureReport({ log: g.log, monotonicMs: clock }),
      metrics: g.metrics,
      log: g.log,
      random: Math.random,
      monotonicMs,
      ...parts,
    }
    const kind = refreshWork({ refreshing: needs, providerIds: ['google', 'microsoft'] })
    /** Claims once and runs what was claimed. @returns how many rows that were */
    const work = async (limitRows = 100) => {
      const rows = await kind.claim(db, {
        id: crypto.randomUUID(),
        seconds: kind.leaseSeconds,
        limit: limitRows,
      })
      await Promise.all(rows.map((row) => kind.run(row, new AbortController().signal)))
      return rows.length
    }
    return { needs, reader: openTokenReader(needs), kind, work, db }
  }
  const seed = async (more: Seed = {}): Promise<string> => {
    const ownerId = more.ownerId ?? (await g.user(`${newId('con')}@example.com`))
    const id = newId('con')
    const name = more.provider ?? 'google'
    const context = { purpose: 'oauth_tokens', owner: ownerId, row: id, provider: name } as const
    const dataKey = g.vault.newDataKey(context)
    const key = g.vault.open(dataKey, context)
    const refreshToken = more.refreshToken === undefined ? 'refresh-1' : more.refreshToken
    const expiresAt = new Date(Date.now() + g.offsetMs + (more.leftSeconds ?? 30) * 1000)
    await insertConnection(g.db, {
      id,
      ownerId,
      provider: name,
      accountKey: id,
      accountLabel: 'bob@example.com',
      accountAddress: null,
      tenant: null,
      status: 'active',
      statusReason: null,
      dataKey,
      accessToken: key.seal('access_token', new Secret('access-1')),
      refreshToken: refreshToken === null ? null : key.seal('refresh_token', new Secret(refreshToken)),
      expiresAt,
      scope: more.scope ?? 'openid mail.read',
      scopeRequested: more.scope ?? 'openid mail.read',
    })
    await scheduleRefresh(g.db, { id, provider: name, expiresAt, hasRefreshToken: refreshToken !== null })
    await g.db.rows(
      sql`update auth.oauth_tokens set issued_at = expires_at - interval '1 hour' where id = ${id}`,
    )
    if (more.due === true) await makeDue(id)
    return id
  }
  const makeDue = (id: string) =>
    g.db.rows(sql`update auth.refreshes set due_at = auth.clock() - interval '1 second' where id = ${id}`)
  const connection = async (id: string) => {
    const row = await g.db.one<{
      status: string
      status_reason: string | null
      version: number
      scope: string
    }>(sql`select status, status_reason, version, scope from auth.oauth_tokens where id = ${id}`)
    if (row === undefined) throw new Error('no such connection')
    return row
  }
  const due = (id: string) =>
    g.db.one<{ in_seconds: number; attempts: number; claims: number; lease_id: string | null }>(sql`
      select extract(epoch from due_at - auth.clock())::float8 in_seconds, attempts, claims, lease_id
        from auth.refreshes where id = ${id}`)
  const events = async () =>
    (
      await g.db.rows<{ type: string; data: Buffer }>(sql`select type, data from auth.events order by seq`)
    ).map(({ type, data }) => ({
      type: type.replace('ca.flovify.', ''),
      data: (JSON.parse(data.toString('utf8')) as { data: Record<string, unknown> }).data,
    }))
  /** The service's time goes on; no lease is held meanwhile. */
  const later = async (seconds: number) => {
    await g.wait(seconds)
    g.offsetMs += Math.ceil(seconds * 1000)
  }
  /** What the pace of a provider says now. */
  const paceOf = async (name: string) => {
    const row = await g.db.one<{ failures: number; held_seconds: number; ahead_seconds: number }>(sql`
      select failures, greatest(0, extract(epoch from greatest(held_until, auth.clock()) - auth.clock()))::float8 held_seconds,
             extract(epoch from greatest(next_at, auth.clock()) - auth.clock())::float8 ahead_seconds
        from auth.refresh_pace where provider = ${name}`)
    if (row === undefined) throw new Error('no such provider')
    return row
  }
  const setRate = (perSecond: number) =>
    g.db.rows(sql`update auth.refresh_pace set per_second = ${perSecond}`)
  const alarms = () =>
    g.db.rows<{ provider: string; code: string }>(
      sql`select provider, code from auth.provider_alarms order by 1, 2`,
    )
  const reset = async () => {
    await g.clear()
    await g.db.rows(sql`
      update auth.refresh_pace set next_at = '-infinity', held_until = '-infinity', failures = 0, per_second = 500`)
    await g.db.rows(sql`truncate auth.provider_alarms, auth.secret_warnings`)
    g.offsetMs = 0
    asked.length = 0
    behaviour.refresh = failing({ class: 'transient', code: 'unused' })
  }
  const shut = async () => {
    await Promise.all(pools.map((pool) => pool.close()))
    await g.close()
  }
  return {
    asked,
    behaviour,
    instance,
    seed,
    makeDue,
    connection,
    due,
    events,
    later,
    paceOf,
    setRate,
    alarms,
    reset,
    shut,
  }
}
