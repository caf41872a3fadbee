import type { Failure } from '@flovify/providers'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { completeFlow } from '../../src/connections/complete.ts'
import { disconnect } from '../../src/connections/disconnect.ts'
import { accessToken } from '../../src/connections/token.ts'
import { sql } from '../../src/db/sql.ts'
import { sha256 } from '../../src/platform/ids.ts'
import { subscriptionRenewals } from '../../src/subscriptions/work.ts'
import type { DueRow, WorkKind } from '../../src/work/work.ts'
import { bindingOf, type Ground, granted, openGround, WEBHOOKS } from '../connections/ground.ts'

describe('creating subscriptions', () => {
  let g: Ground
  let kind: WorkKind<DueRow>
  let alice: string
  let connectionId: string
  let leases = 0
  beforeAll(async () => {
    g = await openGround()
    kind = subscriptionRenewals({
      ...g.needs,
      accessToken: (id, seconds) => accessToken(g.needs, id, seconds),
      channelKeys: g.channelKeys,
      lookup: g.lookup,
      random: () => 0.5,
    })
  })
  afterAll(() => g.close())
  beforeEach(async () => {
    await g.clear()
    alice = await g.user('alice@example.com')
    connectionId = await connect()
  })

  async function connect(exchange: Parameters<typeof granted>[0] = {}): Promise<string> {
    const { ticket } = await g.ticketFor(alice)
    g.google.exchangeWith = async () => granted(exchange)
    const outcome = await completeFlow(g.needs, {
      ticket,
      userId: alice,
      sessionBinding: bindingOf(`session of ${alice}`),
    })
    if (outcome.kind !== 'connected') throw new Error(outcome.kind)
    return outcome.connectionId
  }
  const claim = () => {
    leases += 1
    const id = `00000000-0000-4000-8000-${String(leases).padStart(12, '0')}`
    return kind.claim(g.db, { id, seconds: 30, limit: 10 })
  }
  const work = async (signal = new AbortController().signal) => {
    const rows = await claim()
    for (const row of rows) await kind.run(row, signal)
    return rows.length
  }
  const subscription = () =>
    g.db.one<{
      id: string
      state: string
      failure_code: string | null
      provider_subscription_id: string | null
      channel_secret_hash: Buffer | null
      channel_key_id: string | null
      due_in: number | null
      attempts: number
      lease_id: string | null
    }>(sql`
      select s.id, s.state, s.failure_code, s.provider_subscription_id, s.channel_secret_hash, s.channel_key_id, r.attempts, r.lease_id,
             extract(epoch from r.due_at - auth.clock())::float8 due_in
        from auth.subscriptions s join auth.subscription_renewals r on r.id = s.id order by s.created_at desc limit 1`)
  const failing = (failure: Failure) => {
    g.google.createWith = async () => ({ kind: 'failed', failure })
  }

  test('a wanted one is created with a genuine ref and secret, and becomes active', async () => {
    expect(await work()).toBe(1)
    const [asked] = g.google.creates
    const row = await subscription()
    expect(row).toMatchObject({
      state: 'active',
      provider_subscription_id: 'at-the-provider',
      failure_code: null,
      due_in: expect.any(Number),
      attempts: 0,
      lease_id: null,
    })
    const prefix = `${WEBHOOKS}/webhook/events/google/`
    expect(asked?.notificationUrl.startsWith(prefix)).toBe(true)
    expect(g.channelKeys.genuineRef(asked?.notificationUrl.slice(prefix.length) ?? '')).toBe(row?.id)
    expect(g.channelKeys.genuineChannelSecret(asked?.channelSecret.reveal() ?? '')).toBe(true)
    expect(row?.channel_secret_hash).toEqual(sha256(asked?.channelSecret.reveal() ?? ''))
    // TV-05: a key that a live subscription was made with is not disabled
    expect(row?.channel_key_id).toBe('k0')
    expect(asked?.notificationUrl).toContain('.k0.')
    expect(asked?.channelSecret.reveal()).toContain('.k0.')
    expect(asked?.accessToken.reveal()).toBe('access-1')
    expect(asked?.resource).toBe('me/messages')
    expect(await g.eventTypes()).toEqual([
      'ca.flovify.connection.v1.created',
      'ca.flovify.subscription.v1.created',
    ])
    expect(await work()).toBe(0)
  })

  test('a notification that arrives before the answer to the create call finds its subscription', async () => {
    let found: unknown
    g.google.createWith = async ({ channelSecret }) => {
      found = await g.lookup.of('google').byChannelSecret(channelSecret.reveal())
      return { kind: 'created', providerSubscriptionId: 'late', expiresAt: new Date('2100-01-01T00:00:00Z') }
    }
    await work()
    expect(found).toMatchObject({ connectionId, providerSubscriptionId: undefined, accountKey: 'tenant:bob' })
    // and after the answer the provider's own id is known at once
    const secret = g.google.creates[0]?.channelSecret.reveal() ?? ''
    expect(await g.lookup.of('google').byChannelSecret(secret)).toMatchObject({
      providerSubscriptionId: 'late',
    })
  })

  test('no transaction is open during the call', async () => {
    let open = -1
    g.google.createWith = async () => {
      const rows = await g.db.rows(sql`
        select 1 from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid() and state like 'idle in transaction%'`)
      open = rows.length
      return { kind: 'created', providerSubscriptionId: 'x', expiresAt: new Date('2100-01-01T00:00:00Z') }
    }
    await work()
    expect(open).toBe(0)
  })

  test('a transient failure is tried again later and later, with a new secret each time', async () => {
    failing({ class: 'transient', code: 'http_500' })
    const waits: number[] = []
    for (let i = 1; i <= 10; i += 1) {
      expect(await work()).toBe(1)
      const row = await subscription()
      expect(row).toMatchObject({ state: 'wanted', failure_code: 'http_500', attempts: i, lease_id: null })
      waits.push(row?.due_in ?? 0)
      expect(await work()).toBe(0)
      await g.wait((row?.due_in ?? 0) + 1)
    }
    // half way between 5 s and the doubling cap, less what the test itself took
    for (const [i, expected] of [7.5, 12.5, 22.5, 42.5, 82.5, 162.5, 322.5, 452.5, 452.5, 452.5].entries()) {
      expect(waits[i]).toBeLessThanOrEqual(expected)
      expect(waits[i]).toBeGreaterThan(expected - 5)
    }
    expect(new Set(g.google.creates.map(({ channelSecret }) => channelSecret.reveal())).size).toBe(10)
    // only the newest is genuine
    const [first] = g.google.creates
    expect(await g.lookup.of('google').byChannelSecret(first?.channelSecret.reveal() ?? '')).toBeUndefined()
    const last = g.google.creates.at(-1)
    expect(await g.lookup.of('google').byChannelSecret(last?.channelSecret.reveal() ?? '')).toBeDefined()
  })

  test('a throttled one waits as long as the provider asks', async () => {
    failing({ class: 'throttled', code: 'http_429', retryAfterSeconds: 1234 })
    await work()
    const row = await subscription()
    expect(row?.state).toBe('wanted')
    expect(row?.due_in).toBeGreaterThan(1230)
    expect(row?.due_in).toBeLessThan(1240)
  })

  test.each(['permanent', 'needs_user', 'needs_admin', 'our_configuration'] as const)(
    'a %s failure is not tried again by itself, and says why; connecting again does',
    async (failureClass) => {
      failing({ class: failureClass, code: 'forbidden' })
      await work()
      expect(await subscription()).toMatchObject({ state: 'failed', failure_code: 'forbidden', due_in: null })
      await g.wait(3600)
      expect(await work()).toBe(0)
      await connect()
      expect(await subscription()).toMatchObject({ state: 'wanted', failure_code: null, attempts: 0 })
      expect(await g.count('subscriptions')).toBe(1)
      expect(await work()).toBe(1)
    },
  )

  test('a create call that breaks or throws is transient, and its error is not shown', async () => {
    g.google.createWith = () => Promise.reject(new Error('authorization: Bearer canary'))
    await work()
    expect(await subscription()).toMatchObject({ state: 'wanted', failure_code: 'call_broke' })
    expect(g.lines.join()).not.toContain('canary')
  })

  test('a create call that hangs is told to stop after fifteen seconds and tried again later', async () => {
    let told = false
    g.google.createWith = ({ signal }) =>
      new Promise(() => {
        signal.addEventListener('abort', () => {
          told = true
        })
      })
    await work()
    expect(told).toBe(true)
    expect(await subscription()).toMatchObject({ state: 'wanted', failure_code: 'timeout', attempts: 1 })
  }, 25_000)

  test('OA-13 when the account is disconnected during the call, what it brings is dropped', async () => {
    g.google.createWith = async () => {
      await disconnect(g.needs, connectionId, { userId: alice, role: 'user' })
      return {
        kind: 'created',
        providerSubscriptionId: 'orphan',
        expiresAt: new Date('2100-01-01T00:00:00Z'),
      }
    }
    await work()
    expect(await subscription()).toMatchObject({
      state: 'stopped',
      provider_subscription_id: null,
      channel_secret_hash: null,
      due_in: null,
    })
    const secret = g.google.creates[0]?.channelSecret.reveal() ?? ''
    expect(await g.lookup.of('google').byChannelSecret(secret)).toBeUndefined()
    expect(await g.eventTypes()).not.toContain('ca.flovify.subscription.v1.created')
  })

  test('a worker whose lease passed settles nothing and does not call', async () => {
    const [mine] = await claim()
    await g.wait(31)
    const [theirs] = await claim()
    expect(theirs?.claims).toBe(2)
    if (mine === undefined || theirs === undefined) throw new Error('nothing claimed')
    await kind.run(mine, new AbortController().signal)
    expect(g.google.creates).toHaveLength(0)
    await kind.run(theirs, new AbortController().signal)
    expect(g.google.creates).toHaveLength(1)
    expect(await subscription()).toMatchObject({ state: 'active' })
  })

  test('a lease that is lost during the call leaves the row to who has it then', async () => {
    const abort = new AbortController()
    g.google.createWith = async () => {
      abort.abort()
      return { kind: 'failed', failure: { class: 'permanent', code: 'aborted' } }
    }
    await work(abort.signal)
    expect(await subscription()).toMatchObject({ state: 'wanted', failure_code: null })
    g.google.createWith = async () => ({
      kind: 'created',
      providerSubscriptionId: 'second',
      expiresAt: new Date('2100-01-01T00:00:00Z'),
    })
    await g.wait(31)
    await work()
    expect(await subscription()).toMatchObject({ state: 'active', provider_subscription_id: 'second' })
  })

  test('an access token that is over waits for a fresh one; a revoked connection does not', async () => {
    await g.db.rows(sql`update auth.oauth_tokens set expires_at = auth.clock() + interval '30 seconds'`)
    await work()
    expect(await subscription()).toMatchObject({ state: 'wanted', failure_code: 'token_expired' })
    expect(g.google.creates).toHaveLength(0)
    await g.db.rows(sql`update auth.oauth_tokens set status = 'reauth_required'`)
    await g.wait(60)
    await work()
    expect(await subscription()).toMatchObject({
      state: 'failed',
      failure_code: 'connection_reauth_required',
    })
    expect(g.google.creates).toHaveLength(0)
  })

  test('RE-07 a row whose work keeps killing the process is given up as poison', async () => {
    const [row] = await claim()
    if (row === undefined) throw new Error('nothing claimed')
    await kind.poison(g.db, row)
    expect(await subscription()).toMatchObject({ state: 'failed', failure_code: 'poison', due_in: null })
  })

  test('an expired subscription is wanted again when the account is connected again; a live one stays', async () => {
    await work()
    await connect()
    expect(await subscription()).toMatchObject({ state: 'active', due_in: expect.any(Number) })
    await g.db.rows(sql`update auth.subscriptions set expires_at = auth.clock() - interval '1 minute'`)
    await connect()
    expect(await subscription()).toMatchObject({ state: 'wanted' })
    expect(await g.count('subscriptions')).toBe(1)
  })

  test('the first items of a second subscription are not taken for those of the lost first one', async () => {
    await work()
    await g.db.rows(sql`update auth.subscriptions set state = 'failed'`)
    await connect()
    let during: unknown
    g.google.createWith = async (request) => {
      during = await g.lookup.of('google').byChannelSecret(request.channelSecret.reveal())
      return { kind: 'created', providerSubscriptionId: 'the-second', expiresAt: new Date('2099-01-01') }
    }
    await work()
    expect(during).toMatchObject({ connectionId, providerSubscriptionId: undefined })
    expect(await subscription()).toMatchObject({ state: 'active', provider_subscription_id: 'the-second' })
  })

  test('a reconnect makes a live one again where withdrawing consent had ended it at the provider', async () => {
    await work()
    await connect()
    expect(await work()).toBe(0)
    g.google.endsWithGrant = true
    await connect()
    expect(await work()).toBe(1)
    g.google.endsWithGrant = false
  })

  test('a reconnect during a create takes the row from the worker that still has the old grant', async () => {
    const [held] = await claim()
    g.google.createWith = async () => {
      await connect()
      return { kind: 'failed', failure: { class: 'needs_user', code: 'invalid_grant' } }
    }
    if (held !== undefined) await kind.run(held, new AbortController().signal)
    expect(await subscription()).toMatchObject({ state: 'wanted', failure_code: null, lease_id: null })
    g.google.createWith = async () => ({
      kind: 'created',
      providerSubscriptionId: 'after',
      expiresAt: new Date('2099-01-01'),
    })
    expect(await work()).toBe(1)
    expect(await subscription()).toMatchObject({ state: 'active', provider_subscription_id: 'after' })
  })
})
