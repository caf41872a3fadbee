/** After a restore the database knows an older time than the provider: what is there and has no row is found and stopped. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { accessToken } from '../../src/connections/token.ts'
import { sql } from '../../src/db/sql.ts'
import { newId } from '../../src/platform/ids.ts'
import { subscriptionChecks } from '../../src/subscriptions/check-work.ts'
import { adoptOrphans, subscriptionStops } from '../../src/subscriptions/stop-work.ts'
import { subscriptionRenewals } from '../../src/subscriptions/work.ts'
import type { DueRow, WorkKind } from '../../src/work/work.ts'
import { connectAlice } from '../connections/connected.ts'
import { type Ground, openGround, WEBHOOKS } from '../connections/ground.ts'

const DAY_MS = 24 * 3600_000

describe('WI-16 what a restored database does not know', () => {
  let g: Ground
  let renewals: WorkKind<DueRow>
  let checks: WorkKind<DueRow>
  let stops: WorkKind<DueRow>
  let leases = 0
  let connectionId = ''
  beforeAll(async () => {
    g = await openGround()
    const needs = {
      ...g.needs,
      accessToken: (id: string, seconds: number) => accessToken(g.needs, id, seconds),
      channelKeys: g.channelKeys,
      lookup: g.lookup,
      random: () => 0.5,
      checkEverySeconds: 600,
    }
    renewals = subscriptionRenewals(needs)
    checks = subscriptionChecks(needs)
    stops = subscriptionStops(needs)
  })
  afterAll(() => g.close())
  beforeEach(async () => {
    await g.clear()
    Object.assign(g.google, { isReplaced: false, discoverWith: undefined, listWith: undefined })
    g.google.checkWith = async () => ({ kind: 'checked', changed: false, cursor: 'c1' })
    g.google.stopWith = async () => ({ kind: 'stopped' })
    g.google.createWith = async () => ({
      kind: 'created',
      providerSubscriptionId: `channel-${g.google.creates.length}/resource`,
      expiresAt: new Date(Date.now() + 7 * DAY_MS),
    })
    connectionId = (await connectAlice(g)).connectionId
  })

  const work = async (kind: WorkKind<DueRow>) => {
    leases += 1
    const id = `00000000-0000-4000-8000-${String(leases).padStart(12, '0')}`
    const rows = await kind.claim(g.db, { id, seconds: 30, limit: 10 })
    for (const row of rows) await kind.run(row, new AbortController().signal)
    return rows.length
  }
  const listed = (subscriptionId: string, providerSubscriptionId: string) => ({
    providerSubscriptionId,
    notificationUrl: `${WEBHOOKS}/webhook/events/google/${g.channelKeys.mintRef(subscriptionId as never)}`,
  })
  const stopped = () => g.google.stopped.map((stop) => stop.providerSubscriptionId)
  const state = async () =>
    (await g.db.rows<{ state: string }>(sql`select state from auth.subscriptions`)).map((row) => row.state)

  test('a listing finds it by its genuine ref, and it is stopped with the connection that found it', async () => {
    await work(renewals)
    g.google.listWith = async () => ({
      kind: 'listed',
      items: [
        listed(newId('sub'), 'newer'),
        { providerSubscriptionId: 'foreign', notificationUrl: `${WEBHOOKS}/webhook/events/google/forged` },
      ],
    })
    await work(checks)
    expect(await work(stops)).toBe(1)
    expect(g.google.stopped).toMatchObject([{ providerSubscriptionId: 'newer' }])
    expect(await state()).toEqual(['active'])
  })

  test('one that stands in the way of a create is ended before the next try', async () => {
    g.google.listWith = async () => ({ kind: 'listed', items: [listed(newId('sub'), 'newer')] })
    const create = g.google.createWith
    g.google.createWith = async (request) =>
      stopped().includes('newer')
        ? create(request)
        : { kind: 'failed', failure: { class: 'transient', code: 'already_subscribed' } }
    await work(renewals)
    expect(await state()).toEqual(['wanted'])
    await g.db.rows(sql`update auth.subscription_renewals set due_at = auth.clock()`)
    await work(renewals)
    expect(await state()).toEqual(['active'])
  })

  test('a create ends nothing of another row, also of another connection of the account', async () => {
    const other = newId('sub')
    await g.db.rows(sql`
      insert into auth.subscriptions (id, connection_id, provider, kind, resource, state)
      values (${other}, ${connectionId}, 'google', 'other', 'other', 'active')`)
    g.google.listWith = async () => ({ kind: 'listed', items: [listed(other, 'of another')] })
    await g.db.rows(sql`update auth.subscription_renewals set attempts = 1`)
    await work(renewals)
    expect(stopped()).toEqual([])
  })

  test('one that tells of itself is stopped by who watches the same resource; said twice it is once', async () => {
    await work(renewals)
    const orphan = {
      subscriptionId: newId('sub'),
      providerSubscriptionId: 'newer/resource',
      idsEnd: '/resource',
    }
    expect(await adoptOrphans(g.needs, [orphan])).toBe(1)
    expect(await adoptOrphans(g.needs, [orphan])).toBe(0)
    expect(await work(stops)).toBe(1)
    expect(stopped()).toEqual(['newer/resource'])
    expect(await state()).toEqual(['active'])
  })

  test('one of a resource that nobody watches is left to its end', async () => {
    await work(renewals)
    const orphan = { subscriptionId: newId('sub'), providerSubscriptionId: 'newer/other', idsEnd: '/other' }
    expect(await adoptOrphans(g.needs, [orphan])).toBe(0)
    await g.db.rows(sql`update auth.oauth_tokens set status = 'revoking'`)
    expect(await adoptOrphans(g.needs, [{ ...orphan, idsEnd: '/resource' }])).toBe(0)
  })
})
