import { Secret, type SignalKind } from '@flovify/providers'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { completeFlow } from '../../src/connections/complete.ts'
import { disconnect } from '../../src/connections/disconnect.ts'
import { eraseUser, erasureWork, sweepVanished } from '../../src/connections/erasure.ts'
import { revocationWork } from '../../src/connections/revocation-work.ts'
import { signalWork, storeSignals } from '../../src/connections/signals.ts'
import { raw, sql } from '../../src/db/sql.ts'
import { stopAtProvider } from '../../src/subscriptions/stop.ts'
import { openKeyRing } from '../../src/vault/key-ring.ts'
import { openVault } from '../../src/vault/vault.ts'
import type { DueRow, WorkKind } from '../../src/work/work.ts'
import { bindingOf, granted, openGround } from './ground.ts'

describe('leaving', () => {
  let g: Awaited<ReturnType<typeof openGround>>
  let alice: string
  let bob: string
  let leases = 0
  let kinds: Record<'revocations' | 'signals' | 'erasures', WorkKind<DueRow>>

  beforeAll(async () => {
    g = await openGround()
    const needs = {
      ...g.needs,
      random: () => 0.5,
      stopAtProvider: (
        ...given: Parameters<typeof stopAtProvider> extends [unknown, ...infer R] ? R : never
      ) => stopAtProvider(g.needs, ...given),
    }
    kinds = { revocations: revocationWork(needs), signals: signalWork(needs), erasures: erasureWork(needs) }
  })
  afterAll(() => g.close())
  beforeEach(async () => {
    await g.clear()
    await g.db.rows(
      sql`truncate auth.revocations, auth.account_signals, auth.erasures, auth.notifications, auth.deliveries`,
    )
    alice = await g.user('alice@example.com')
    bob = await g.user('bob@example.com')
    g.google.revokeWith = async () => ({ kind: 'revoked' })
  })

  async function connect(userId: string, provider = 'google', exchange: Parameters<typeof granted>[0] = {}) {
    const { ticket } = await g.ticketFor(userId, provider)
    const from = provider === 'google' ? g.google : g.microsoft
    from.exchangeWith = async () => granted(exchange)
    const outcome = await completeFlow(g.needs, {
      ticket,
      userId,
      sessionBinding: bindingOf(`session of ${userId}`),
    })
    if (outcome.kind !== 'connected') throw new Error(outcome.kind)
    return outcome.connectionId
  }
  /** As if its subscription had been made at the provider. */
  const subscribed = (id: string) =>
    g.db.rows(sql`
      update auth.subscriptions set state = 'active', provider_subscription_id = 'at-the-provider', expires_at = auth.clock() + interval '1 day'
       where connection_id = ${id}`)
  const leave = (id: string, userId: string) => disconnect(g.needs, id, { userId, role: 'user' })
  const work = async (kind: WorkKind<DueRow>, signal = new AbortController().signal) => {
    leases += 1
    const id = `00000000-0000-4000-9000-${String(leases).padStart(12, '0')}`
    const rows = await kind.claim(g.db, { id, seconds: 60, limit: 10 })
    for (const row of rows) await kind.run(row, signal)
    return rows.length
  }
  const row = (id: string) =>
    g.db.one<{
      status: string
      data_key: string | null
      refresh_token: string | null
      status_reason: string
    }>(sql`select status, status_reason, data_key, refresh_token from auth.oauth_tokens where id = ${id}`)

  describe('a disconnect', () => {
    test('OA-13 stops the subscription while a token works, then revokes the grant, then wipes the data key', async () => {
      const id = await connect(alice)
      await subscribed(id)
      expect(await leave(id, alice)).toMatchObject({
        status: 'revoking',
        atProvider: { kind: 'revoked_by_us' },
      })
      expect(await row(id)).toMatchObject({ status: 'revoking', refresh_token: expect.any(String) })
      const calls: string[] = []
      g.google.stopWith = async () => {
        calls.push('stop')
        return { kind: 'stopped' }
      }
      g.google.revokeWith = async () => {
        calls.push('revoke')
        return { kind: 'revoked' }
      }
      expect(await work(kinds.revocations)).toBe(1)
      expect(calls).toEqual(['stop', 'revoke'])
      expect(g.google.revoked).toEqual(['refresh-1'])
      expect(g.google.stopped[0]?.accessToken.reveal()).toBe('access-1')
      expect(await row(id)).toMatchObject({ status: 'revoked', data_key: null, refresh_token: null })
      expect(await work(kinds.revocations)).toBe(0)
      expect(await g.audited('connection.revoked_at_provider')).toMatchObject([
        { detail: { outcome: 'done' } },
      ])
    })

    test('OA-13 with the provider down is done here at once, and tried again there until it answers', async () => {
      const id = await connect(alice)
      g.google.revokeWith = async () => ({
        kind: 'failed',
        failure: { class: 'transient', code: 'http_503', retryAfterSeconds: 120 },
      })
      expect(await leave(id, alice)).toMatchObject({ status: 'revoking' })
      expect(await work(kinds.revocations)).toBe(1)
      expect(await row(id)).toMatchObject({ status: 'revoking', refresh_token: expect.any(String) })
      await g.wait(100)
      expect(await work(kinds.revocations)).toBe(0)
      await g.wait(30)
      g.google.revokeWith = async () => ({ kind: 'revoked' })
      expect(await work(kinds.revocations)).toBe(1)
      expect(await row(id)).toMatchObject({ status: 'revoked', data_key: null })
    })

    test('OA-13 a provider that never answers is given up after a day: the key is wiped, the operator told', async () => {
      const id = await connect(alice)
      g.google.revokeWith = async () => ({ kind: 'failed', failure: { class: 'transient', code: 'network' } })
      await leave(id, alice)
      await work(kinds.revocations)
      await g.wait(25 * 3600)
      expect(await work(kinds.revocations)).toBe(1)
      expect(await row(id)).toMatchObject({ status: 'revoked', data_key: null })
      expect(g.lines.join('')).toContain('could not be revoked within a day')
    })

    test('a worker that dies in the middle changes nothing: the row comes again by its lease', async () => {
      const id = await connect(alice)
      await leave(id, alice)
      const dead = new AbortController()
      g.google.revokeWith = async () => {
        dead.abort()
        return { kind: 'revoked' }
      }
      await work(kinds.revocations, dead.signal)
      expect(await row(id)).toMatchObject({ status: 'revoking' })
      expect(await work(kinds.revocations)).toBe(0)
      await g.wait(61)
      g.google.revokeWith = async () => ({ kind: 'revoked' })
      expect(await work(kinds.revocations)).toBe(1)
      expect(await row(id)).toMatchObject({ status: 'revoked' })
    })

    test('the same account linked by two users is one grant: it is revoked only with the last', async () => {
      const first = await connect(alice)
      const second = await connect(bob)
      expect(first).not.toBe(second)
      expect(await leave(first, alice)).toMatchObject({
        atProvider: { kind: 'shared_with_other_connection' },
      })
      await work(kinds.revocations)
      expect(g.google.revoked).toEqual([])
      expect(await row(first)).toMatchObject({ status: 'revoked', data_key: null })
      expect(await row(second)).toMatchObject({ status: 'active' })
      expect(await leave(second, bob)).toMatchObject({ atProvider: { kind: 'revoked_by_us' } })
      await work(kinds.revocations)
      expect(g.google.revoked).toHaveLength(1)
    })

    test('connected again before the provider was told, the grant lives on', async () => {
      const id = await connect(alice)
      await leave(id, alice)
      expect(await connect(alice)).toBe(id)
      expect(await work(kinds.revocations)).toBe(0)
      expect(g.google.revoked).toEqual([])
      expect(await row(id)).toMatchObject({ status: 'active' })
    })

    test('where there is no revocation, subscriptions are stopped first, with a new token if the stored one is over', async () => {
      const id = await connect(alice, 'microsoft', { expiresAt: new Date(Date.now() + 3_600_000) })
      await subscribed(id)
      expect(await leave(id, alice)).toEqual({
        kind: 'disconnected',
        status: 'revoking',
        atProvider: { kind: 'withdraw_yourself', url: 'https://microsoft.example/consents' },
      })
      await g.wait(3_600)
      g.microsoft.refreshWith = async () => ({
        kind: 'refreshed',
        tokens: {
          accessToken: new Secret('access-2'),
          refreshToken: undefined,
          expiresAt: new Date('2100-01-01'),
          grantedScopes: [],
        },
      })
      await work(kinds.revocations)
      expect(g.microsoft.stopped.map((stop) => stop.accessToken.reveal())).toEqual(['access-2'])
      expect(await row(id)).toMatchObject({ status: 'revoked', data_key: null })
    })

    test('a dead grant ends it: nothing can be stopped or revoked with it', async () => {
      const id = await connect(alice, 'microsoft', { expiresAt: new Date(Date.now() + 1_000) })
      await subscribed(id)
      await leave(id, alice)
      await g.wait(5)
      g.microsoft.refreshWith = async () => ({
        kind: 'failed',
        failure: { class: 'permanent', code: 'invalid_grant' },
      })
      await work(kinds.revocations)
      expect(await row(id)).toMatchObject({ status: 'revoked', data_key: null })
    })
  })

  test('TV-08 once the data key is wiped, an old copy of the row opens nothing without the old ring key', async () => {
    const id = await connect(alice)
    const backup = await g.db.one<{ data_key: string; refresh_token: string }>(
      sql`select data_key, refresh_token from auth.oauth_tokens where id = ${id}`,
    )
    if (backup === undefined) throw new Error('no row')
    const context = { purpose: 'oauth_tokens', owner: alice, row: id, provider: 'google' } as const
    // the copy is whole: with the key of its time it opens
    expect(
      g.vault.open(backup.data_key, context).unseal('refresh_token', backup.refresh_token).reveal(),
    ).toBe('refresh-1')
    await leave(id, alice)
    await work(kinds.revocations)
    expect(await row(id)).toMatchObject({ data_key: null, refresh_token: null })
    await g.db.rows(sql`
      update auth.oauth_tokens set data_key = ${backup.data_key}, refresh_token = ${backup.refresh_token} where id = ${id}`)
    const later = openVault(openKeyRing(new Map([['k1', Buffer.alloc(32, 9)]]), 'k1'))
    expect(() => later.open(backup.data_key, context)).toThrow()
    const renamed = backup.data_key.replace('.k0.', '.k1.')
    expect(() => later.open(renamed, context)).toThrow()
  })

  describe('what the provider says of an account', () => {
    let said = 0
    const newJti = () => {
      said += 1
      return `jti-${said}`
    }
    const say = async (kind: SignalKind, accountKey: string | undefined = 'tenant:bob', id = newJti()) => {
      await storeSignals(g.needs, 'google', [{ id, kind, accountKey, detail: undefined }])
      return work(kinds.signals)
    }

    test('tokens revoked: every connection of the account ends, whoever linked it, and nobody is asked', async () => {
      const ids = [await connect(alice), await connect(bob)]
      const other = await connect(alice, 'google', { key: 'tenant:carol', label: 'carol' })
      expect(await say('tokens_revoked')).toBe(1)
      for (const id of ids)
        expect(await row(id)).toMatchObject({
          status: 'revoked',
          status_reason: 'tokens_revoked',
          data_key: null,
        })
      expect(await row(other)).toMatchObject({ status: 'active' })
      expect(g.google.revoked).toEqual([])
      const events = await g.db.rows<{ data: Buffer }>(
        sql`select data from auth.events where type like '%.revoked'`,
      )
      expect(events.map((event) => JSON.parse(event.data.toString()).data.by)).toEqual([
        'provider',
        'provider',
      ])
    })

    test('the same event twice acts once, and one from before a reconnect does not end the new grant', async () => {
      const id = await connect(alice)
      expect(await say('tokens_revoked', 'tenant:bob', 'jti-same')).toBe(1)
      await g.wait(10)
      await connect(alice)
      expect(await say('tokens_revoked', 'tenant:bob', 'jti-same')).toBe(0)
      expect(await row(id)).toMatchObject({ status: 'active' })
    })

    test('account disabled asks for the user and keeps the tokens; enabled tries them again', async () => {
      const id = await connect(alice)
      await say('account_disabled')
      expect(await row(id)).toMatchObject({ status: 'reauth_required', status_reason: 'account_disabled' })
      expect((await row(id))?.refresh_token).not.toBeNull()
      const due = () => g.db.rows(sql`select 1 from auth.refreshes where due_at <= auth.clock()`)
      expect(await due()).toHaveLength(0)
      await say('account_enabled')
      expect(await due()).toHaveLength(1)
    })

    test('one of several tokens revoked is found out by trying; other events change nothing and are audited', async () => {
      const id = await connect(alice)
      await say('token_revoked')
      expect(await g.db.rows(sql`select 1 from auth.refreshes where due_at <= auth.clock()`)).toHaveLength(1)
      for (const kind of ['sessions_revoked', 'credential_change_required'] as const) await say(kind)
      await say('verification', undefined)
      expect(await row(id)).toMatchObject({ status: 'active' })
      expect(await g.audited('account.verification')).toHaveLength(1)
      expect(await g.audited('account.sessions_revoked')).toMatchObject([{ detail: { connections: 1 } }])
    })
  })

  describe('a user who goes', () => {
    /** An event with a notification, and a delivery in each of its forms. */
    const received = async (connectionId: string, ownerId: string, notification: string, n = 1) => {
      for (let i = 0; i < n; i += 1) {
        const id = `evt_${notification}_${connectionId.slice(4, 12)}_${i}`
        await g.db.rows(sql`
          insert into auth.notifications (id, received_at, provider, ref, headers, body, body_sha256)
          select ${notification}, auth.clock(), 'google', ${connectionId}, '{}', 'mail of the account', ''
           where not exists (select from auth.notifications where id = ${notification})`)
        await g.db.rows(sql`
          insert into auth.events (id, recorded_at, notification_id, connection_id, owner_id, provider, type, source, data)
          values (${id}, auth.clock(), ${notification}, ${connectionId}, ${ownerId}, 'google', 'ca.flovify.mail.mailbox.v1.notified', 'x', 'about bob@example.com')`)
        await g.db.rows(
          sql`insert into auth.event_keys (scope, identity, event_id, recorded_at) values (${connectionId}, ${id}::bytea, ${id}, auth.clock())`,
        )
        await g.db.rows(sql`
          insert into auth.deliveries (id, event_id, event_recorded_at, destination_id, rule_id, due_at, created_at)
          select 'dlv_' || ${id}, id, recorded_at, 'dst_x', 'rul_x', auth.clock(), auth.clock() from auth.events where id = ${id}`)
        await g.db.rows(sql`
          insert into auth.delivery_outcomes (id, event_id, event_recorded_at, destination_id, rule_id, state, attempts, created_at, finished_at)
          select 'dlo_' || ${id}, id, recorded_at, 'dst_y', 'rul_x', 'delivered', 1, auth.clock(), auth.clock() from auth.events where id = ${id}`)
        await g.db.rows(sql`
          insert into auth.attempts (delivery_id, event_id, destination_id, number, started_at, duration_ms, outcome)
          values ('dlo_' || ${id}, ${id}, 'dst_y', 1, auth.clock(), 1, 'delivered')`)
      }
    }
    /** Every row of every table, as text. */
    const everything = async (without?: string) => {
      const tables = await g.db.rows<{ name: string }>(
        sql`select c.relname as name from pg_class c where c.relnamespace = 'auth'::regnamespace and c.relkind = 'r' and c.relname <> 'users'`,
      )
      const texts: string[] = []
      for (const { name } of tables) {
        if (name === without) continue
        const rows = await g.db.rows<{ text: string }>(
          sql`select t::text as text from ${raw(`auth."${name}"`)} t`,
        )
        texts.push(...rows.map(({ text }) => text))
      }
      return texts.join('\n')
    }

    test('OP-08 is gone from every table, with a receipt; the other user of the same account keeps everything', async () => {
      const mine = [
        await connect(alice),
        await connect(alice, 'google', { key: 'sub-of-alice', label: 'alice-canary@example.com' }),
      ]
      const his = await connect(bob)
      await received(mine[0] ?? '', alice, 'ntf_mine', 3)
      await received(mine[1] ?? '', alice, 'ntf_shared', 1)
      await received(his, bob, 'ntf_shared', 1)
      const first = await eraseUser(g.needs, 'caller:platform', alice)
      expect(first).toMatchObject({ kind: 'receipt', receipt: { finished_at: null, revoking: 2 } })
      // at once: nobody gets a token, no session, no flow
      for (const id of mine) expect(await row(id)).toMatchObject({ status: 'revoking' })
      expect(await work(kinds.erasures)).toBe(1)
      await work(kinds.revocations)
      // one grant was bob's too
      expect(g.google.revoked).toHaveLength(1)
      await g.wait(31)
      expect(await work(kinds.erasures)).toBe(1)
      const again = await eraseUser(g.needs, 'caller:platform', alice)
      expect(again).toMatchObject({
        kind: 'receipt',
        receipt: {
          revoking: 0,
          finished_at: expect.any(Date),
          counts: { connections: 2, deliveries: 4, attempts: 4 },
        },
      })
      if (first.kind === 'receipt' && again.kind === 'receipt')
        expect(again.receipt.id).toBe(first.receipt.id)
      const left = await everything()
      for (const trace of ['alice-canary', 'sub-of-alice', 'ntf_mine', `user:${alice},`])
        for (const spelling of [trace, Buffer.from(trace).toString('hex')])
          expect(left).not.toContain(spelling)
      const deleted = await g.db.rows<{ data: Buffer }>(
        sql`delete from auth.events where type like '%.deleted' returning data`,
      )
      expect(deleted.map(({ data }) => JSON.parse(data.toString()).data.connection.id).sort()).toEqual(
        [...mine].sort(),
      )
      // besides those events, the audit trail keeps what was done, by random ids, which mean nothing without their rows
      const outside = await everything('audit')
      for (const id of mine)
        for (const spelling of [id, Buffer.from(id).toString('hex')]) expect(outside).not.toContain(spelling)
      expect(await g.db.rows(sql`select 1 from auth.oauth_tokens where owner_id = ${alice}`)).toEqual([])
      expect(await g.db.rows(sql`select 1 from auth.events where owner_id = ${alice}`)).toEqual([])
      expect(await g.db.rows(sql`select 1 from auth.events where connection_id = ${his}`)).not.toEqual([])
      // what spoke of both lost its bytes and stays as a mark that it came
      expect(await g.db.rows(sql`select id, body from auth.notifications`)).toEqual([
        { id: 'ntf_shared', body: Buffer.alloc(0) },
      ])
    })

    test('OP-08 a kill between two steps costs nothing: the next worker goes on, and counts go on', async () => {
      const id = await connect(alice)
      await received(id, alice, 'ntf_many', 3)
      await eraseUser(g.needs, 'service', alice)
      const dead = new AbortController()
      dead.abort()
      await work(kinds.erasures, dead.signal)
      expect(
        await g.db.rows(
          sql`select 1 from auth.events where connection_id = ${id} and notification_id is not null`,
        ),
      ).toHaveLength(3)
      await g.wait(61)
      await work(kinds.revocations)
      await work(kinds.erasures)
      expect(await g.db.rows(sql`select 1 from auth.oauth_tokens`)).toEqual([])
    })

    test('a user that the platform deleted is treated alike, once', async () => {
      const id = await connect(alice)
      await g.db.rows(sql`delete from auth.users where id::text = ${alice}`)
      await sweepVanished(g.needs)
      expect(await row(id)).toMatchObject({ status: 'revoking', status_reason: 'user_erased' })
      await sweepVanished(g.needs)
      expect(await g.audited('user.erased')).toHaveLength(1)
      await work(kinds.revocations)
      await work(kinds.erasures)
      expect(await row(id)).toBeUndefined()
    })

    test('who only signed in and began to connect gets a receipt too, and nothing of it stays', async () => {
      const { flowId } = await g.begin(alice)
      expect(await eraseUser(g.needs, 'service', alice)).toMatchObject({ kind: 'receipt' })
      expect(await g.db.rows(sql`select 1 from auth.oauth_states where id = ${flowId}`)).toEqual([])
      await work(kinds.erasures)
      expect(await eraseUser(g.needs, 'service', alice)).toMatchObject({
        receipt: { finished_at: expect.any(Date) },
      })
    })

    test('of whom nothing is held, nothing is said', async () => {
      expect(await eraseUser(g.needs, 'service', '999999')).toEqual({ kind: 'unknown' })
    })
  })

  test('a watch that the account shares is stopped only with the last connection of it', async () => {
    g.google.sharedByAccount = true
    const first = await connect(alice)
    const second = await connect(bob)
    for (const id of [first, second]) await subscribed(id)
    await leave(first, alice)
    await work(kinds.revocations)
    expect(g.google.stopped).toEqual([])
    await leave(second, bob)
    await work(kinds.revocations)
    expect(g.google.stopped).toHaveLength(1)
    g.google.sharedByAccount = false
  })
})
