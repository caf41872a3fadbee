/** One connection with one subscription that lives, and the due rows that keep it so: asked to work by the tests themselves. */
import type { WantedSubscription } from '@flovify/providers'
import { afterAll, beforeAll, beforeEach } from 'vitest'
import { accessToken } from '../../src/connections/token.ts'
import { sql } from '../../src/db/sql.ts'
import { subscriptionChecks } from '../../src/subscriptions/check-work.ts'
import { subscriptionStops } from '../../src/subscriptions/stop-work.ts'
import { subscriptionRenewals } from '../../src/subscriptions/work.ts'
import type { DueRow, WorkKind } from '../../src/work/work.ts'
import { connectAlice } from '../connections/connected.ts'
import { type Ground, openGround } from '../connections/ground.ts'

export const DAY_MS = 24 * 3600_000
export const LIST: WantedSubscription = { kind: 'mail', resource: 'me/messages' }

type Kind = 'renewals' | 'checks' | 'stops'

/** To be called once in a file; what it returns is filled before each test. */
export function keeping() {
  const k = {
    g: undefined as unknown as Ground,
    alice: '',
    connectionId: '',
    /** No token for the moment. */
    unavailable: false,
  }
  let kinds: Record<Kind, WorkKind<DueRow>>
  let leases = 0
  beforeAll(async () => {
    k.g = await openGround()
    const needs = {
      ...k.g.needs,
      accessToken: async (id: string, seconds: number) =>
        k.unavailable ? ({ kind: 'expired' } as const) : accessToken(k.g.needs, id, seconds),
      channelKeys: k.g.channelKeys,
      lookup: k.g.lookup,
      random: () => 0.5,
      checkEverySeconds: 600,
    }
    kinds = {
      renewals: subscriptionRenewals(needs),
      checks: subscriptionChecks(needs),
      stops: subscriptionStops(needs),
    }
  })
  afterAll(() => k.g.close())
  beforeEach(async () => {
    await k.g.clear()
    Object.assign(k.g.google, { isReplaced: false, discoverWith: undefined, listWith: undefined })
    k.g.google.checkWith = async () => ({ kind: 'checked', changed: false, cursor: 'c1' })
    k.g.google.stopWith = async () => ({ kind: 'stopped' })
    k.g.google.createWith = async () => ({
      kind: 'created',
      providerSubscriptionId: `at-provider-${k.g.google.creates.length}`,
      expiresAt: new Date((await now()).getTime() + 7 * DAY_MS),
    })
    k.g.google.renewWith = async () => ({
      kind: 'renewed',
      expiresAt: new Date((await now()).getTime() + 7 * DAY_MS),
    })
    const { userId, connectionId } = await connectAlice(k.g)
    Object.assign(k, { alice: userId, connectionId, unavailable: false })
    await work('renewals')
  })

  const now = async () =>
    (await k.g.db.one<{ now: Date }>(sql`select auth.clock() as now`))?.now ?? new Date()
  const pass = (minutes: number) =>
    k.g.db.rows(sql`
      with moved as (update auth.clock_offset set offset_ms = offset_ms + ${minutes * 60_000} returning offset_ms)
      select auth.ensure_days((now() at time zone 'UTC')::date + (offset_ms / 86400000)::int - 1, (now() at time zone 'UTC')::date + (offset_ms / 86400000)::int + 2) from moved`)
  const work = async (name: Kind) => {
    const kind = kinds[name]
    leases += 1
    const id = `00000000-0000-4000-8000-${String(leases).padStart(12, '0')}`
    const rows = await kind.claim(k.g.db, { id, seconds: 30, limit: 10 })
    for (const row of rows) await kind.run(row, new AbortController().signal)
    return rows.length
  }
  const subscriptions = () =>
    k.g.db.rows<{
      id: string
      kind: string
      state: string
      provider_subscription_id: string | null
      silent: boolean
    }>(
      sql`select id, kind, state, provider_subscription_id, silent_since is not null as silent from auth.subscriptions order by kind, created_at`,
    )
  const only = async () => {
    const [row, ...others] = await subscriptions()
    if (row === undefined || others.length > 0) throw new Error('not one subscription')
    return row
  }
  const stopped = () => k.g.google.stopped.map((stop) => stop.providerSubscriptionId)
  const gaps = () =>
    k.g.db.rows<{ reason: string; minutes: number }>(
      sql`select reason, round(extract(epoch from coalesce(to_at, auth.clock()) - from_at) / 60)::int as minutes from auth.subscription_gaps order by id`,
    )
  const notified = async () =>
    k.g.db.rows(sql`update auth.subscriptions set last_notification_at = auth.clock()`)
  const changed = (cursor: string) => {
    k.g.google.checkWith = async () => ({ kind: 'checked', changed: true, cursor })
  }
  const viewer = () => ({ userId: k.alice, role: 'user' })

  return Object.assign(k, { now, pass, work, subscriptions, only, stopped, gaps, notified, changed, viewer })
}
