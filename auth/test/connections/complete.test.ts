import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type CompleteNeeds, completeFlow } from '../../src/connections/complete.ts'
import { disconnect } from '../../src/connections/disconnect.ts'
import { listConnections } from '../../src/connections/list.ts'
import { sweepFlows } from '../../src/connections/sweep.ts'
import { accessToken } from '../../src/connections/token.ts'
import { sql } from '../../src/db/sql.ts'
import { bindingOf, type Ground, granted, openGround } from './ground.ts'

describe('completing a flow', () => {
  let g: Ground
  let alice: string
  let bob: string
  beforeAll(async () => {
    g = await openGround()
  })
  afterAll(() => g.close())
  beforeEach(async () => {
    await g.clear()
    alice = await g.user('alice@example.com')
    bob = await g.user('bob@example.com')
  })

  const complete = (
    ticket: string,
    userId: string | undefined = alice,
    session: string | undefined = `session of ${alice}`,
    needs: CompleteNeeds = g.needs,
  ) =>
    completeFlow(needs, {
      ticket,
      userId,
      sessionBinding: session === undefined ? undefined : bindingOf(session),
    })
  const asNobody = (ticket: string) => completeFlow(g.needs, { ticket })
  const REFUSED = { kind: 'refused' }

  test('the session that began the flow connects the account, in one transaction with its consequences', async () => {
    const { ticket, flowId } = await g.ticketFor(alice, 'microsoft', 'code-of-bob')
    const outcome = await complete(ticket)
    expect(outcome.kind).toBe('connected')
    expect(g.microsoft.exchanged).toEqual(['code-of-bob'])
    expect(await g.flow(flowId)).toEqual({ status: 'done', reason: null, wiped: true })
    const [connection] = await listConnections(g.needs, { userId: alice, role: 'user' })
    expect(connection).toMatchObject({
      provider: 'microsoft',
      account_label: 'bob@example.com',
      status: 'active',
      scopes_granted: ['openid', 'mail.read'],
      scopes_missing: [],
      user_id: alice,
      subscriptions: [{ kind: 'mail', state: 'wanted' }],
    })
    expect(await g.eventTypes()).toEqual(['ca.flovify.connection.v1.created'])
    expect(await g.audited('connection.created')).toHaveLength(1)
    expect(g.nudged).toEqual(['subscription_renewals', 'subscription_stops'])
    expect(await accessToken(g.needs, connection?.id ?? '', 60)).toMatchObject({ kind: 'token' })
  })

  test('no token, code, ticket or verifier stands in any table, event or log line as it is', async () => {
    const { ticket } = await g.ticketFor(alice, 'google', 'canary-code')
    g.google.exchangeWith = async () =>
      granted({ accessToken: 'canary-access', refreshToken: 'canary-refresh' })
    await complete(ticket)
    const texts = await g.db.rows<{ text: string }>(sql`
      select to_jsonb(x)::text "text" from auth.oauth_tokens x
      union all select to_jsonb(x)::text from auth.oauth_states x
      union all select to_jsonb(x)::text from auth.audit x
      union all select convert_from(data, 'UTF8') from auth.events`)
    const everything = `${texts.map(({ text }) => text).join()}${g.lines.join()}`
    expect(texts.length).toBeGreaterThan(3)
    for (const canary of ['canary-code', 'canary-access', 'canary-refresh', ticket])
      expect(everything).not.toContain(canary)
  })

  test('OA-01 signed in as another user, the flow is burned and nothing is asked of the provider', async () => {
    const { ticket, flowId } = await g.ticketFor(alice)
    expect(await complete(ticket, bob, `session of ${bob}`)).toEqual(REFUSED)
    expect(await g.flow(flowId)).toEqual({ status: 'rejected', reason: 'other_user', wiped: true })
    expect(g.google.exchanged).toEqual([])
    expect(await g.count('oauth_tokens')).toBe(0)
    expect(await g.audited('oauth.session_mismatch')).toMatchObject([
      { subject: flowId, detail: { cause: 'other_user', burned: true } },
    ])
    // and the honest session is too late
    expect(await complete(ticket)).toEqual(REFUSED)
    expect(g.google.exchanged).toEqual([])
  })

  test('OA-01 the user counts for itself, also with the right session binding', async () => {
    const { ticket, flowId } = await g.ticketFor(alice)
    expect(await complete(ticket, bob, `session of ${alice}`)).toEqual(REFUSED)
    expect(await g.flow(flowId)).toEqual({ status: 'rejected', reason: 'other_user', wiped: true })
    expect(g.google.exchanged).toEqual([])
  })

  test('OA-01 without a session the flow is burned too, and the answer is to sign in', async () => {
    const { ticket, flowId } = await g.ticketFor(alice)
    expect(await asNobody(ticket)).toEqual({ kind: 'sign_in_required' })
    expect(await g.flow(flowId)).toEqual({ status: 'rejected', reason: 'no_session', wiped: true })
    expect(await complete(ticket)).toEqual(REFUSED)
    expect(g.google.exchanged).toEqual([])
    expect(await g.count('oauth_tokens')).toBe(0)
    expect(await g.audited('oauth.session_mismatch')).toMatchObject([
      { detail: { cause: 'no_session', burned: true } },
      { detail: { cause: 'spent_ticket', burned: false } },
    ])
    // also for a ticket that never was
    expect(await asNobody('x'.repeat(43))).toEqual({ kind: 'sign_in_required' })
    const half = await g.ticketFor(alice)
    expect(await completeFlow(g.needs, { ticket: half.ticket, userId: alice })).toEqual({
      kind: 'sign_in_required',
    })
    expect((await g.flow(half.flowId)).status).toBe('rejected')
  })

  test('OA-02 no GET of ours begins or binds a flow: the callback of a URL that bob was sent parks it for alice only', async () => {
    const { state, flowId } = await g.begin(alice)
    // bob's browser follows alice's authorization URL and comes back; nothing of bob's is known here
    const answer = await g.callback('google', [
      ['code', 'code-of-bob'],
      ['state', state],
    ])
    const ticket = answer.headers.location?.split('#ticket=')[1] ?? ''
    expect(answer.headers['set-cookie']).toBeUndefined()
    expect(await complete(ticket, bob, `session of ${bob}`)).toEqual(REFUSED)
    expect((await g.flow(flowId)).wiped).toBe(true)
    expect(g.google.exchanged).toEqual([])
  })

  test("OA-03 bob's browser, forced to the callback with alice's code and state, connects nothing", async () => {
    const { ticket, flowId } = await g.ticketFor(alice, 'google', 'code-of-alice')
    expect(await complete(ticket, bob, `session of ${bob}`)).toEqual(REFUSED)
    expect((await g.flow(flowId)).status).toBe('rejected')
    expect(g.google.exchanged).toEqual([])
    expect(await g.count('oauth_tokens')).toBe(0)
  })

  test('OA-04 late, of another session of the same user, or with one bit changed: one identical refusal', async () => {
    const late = await g.ticketFor(alice)
    await g.wait(121)
    expect(await complete(late.ticket)).toEqual(REFUSED)
    expect(await g.flow(late.flowId)).toEqual({ status: 'rejected', reason: 'late_ticket', wiped: true })

    const other = await g.ticketFor(alice)
    expect(await complete(other.ticket, alice, 'another session of alice')).toEqual(REFUSED)
    expect(await g.flow(other.flowId)).toEqual({ status: 'rejected', reason: 'other_session', wiped: true })

    const odd = await g.ticketFor(alice)
    expect(
      await completeFlow(g.needs, { ticket: odd.ticket, userId: alice, sessionBinding: 'not 32 bytes' }),
    ).toEqual(REFUSED)
    expect((await g.flow(odd.flowId)).status).toBe('rejected')

    const changed = await g.ticketFor(alice)
    const last = changed.ticket.slice(-1)
    const oneBit = changed.ticket.slice(0, -1) + (last === 'A' ? 'E' : 'A')
    for (const ticket of [oneBit, '', changed.ticket.slice(1), 'x'.repeat(43), `${changed.ticket} `])
      expect(await complete(ticket)).toEqual(REFUSED)
    // an unknown ticket says nothing about this flow
    expect((await g.flow(changed.flowId)).status).toBe('returned')
    expect(g.google.exchanged).toEqual([])
    expect((await complete(changed.ticket)).kind).toBe('connected')
  })

  test('OA-04 within two minutes it is accepted', async () => {
    const { ticket } = await g.ticketFor(alice)
    await g.wait(115)
    expect((await complete(ticket)).kind).toBe('connected')
  })

  test('OA-04 a repeat by the same session gets the first result without a second exchange', async () => {
    const { ticket } = await g.ticketFor(alice)
    const first = await complete(ticket)
    expect(await complete(ticket)).toEqual(first)
    await g.wait(600)
    expect(await complete(ticket)).toEqual(first)
    expect(g.google.exchanged).toEqual(['code-1'])
    // anyone else still gets the refusal
    expect(await complete(ticket, bob, `session of ${bob}`)).toEqual(REFUSED)
    expect(await complete(ticket, alice, 'another session of alice')).toEqual(REFUSED)
    expect(await asNobody(ticket)).toEqual({ kind: 'sign_in_required' })
    expect(await g.count('oauth_tokens')).toBe(1)
  })

  test('OA-08 of twenty completions at once one exchanges and all of the session get its result', async () => {
    const { ticket } = await g.ticketFor(alice)
    g.google.exchangeWith = async () => {
      await pause(300)
      return granted()
    }
    const outcomes = await Promise.all(Array.from({ length: 20 }, () => complete(ticket)))
    expect(g.google.exchanged).toEqual(['code-1'])
    expect(new Set(outcomes.map((outcome) => JSON.stringify(outcome))).size).toBe(1)
    expect(outcomes[0]?.kind).toBe('connected')
  })

  test('OA-08 a stranger who presents the ticket during the exchange neither gets nor breaks it', async () => {
    const { ticket } = await g.ticketFor(alice)
    g.google.exchangeWith = async () => {
      await pause(200)
      return granted()
    }
    const honest = complete(ticket)
    await pause(80)
    expect(await complete(ticket, bob, `session of ${bob}`)).toEqual(REFUSED)
    expect((await honest).kind).toBe('connected')
  })

  test('OA-07 an injected code that the provider refuses stores nothing, and the code is never redeemed again', async () => {
    const { ticket, flowId } = await g.ticketFor(alice, 'google', 'stolen-code')
    g.google.exchangeWith = async () => ({
      kind: 'failed',
      failure: { class: 'permanent', code: 'invalid_grant' },
    })
    const outcome = await complete(ticket)
    expect(outcome).toEqual({ kind: 'failed', reason: 'invalid_grant' })
    expect(await g.flow(flowId)).toEqual({ status: 'failed', reason: 'invalid_grant', wiped: true })
    expect(await complete(ticket)).toEqual(outcome)
    expect(g.google.exchanged).toEqual(['stolen-code'])
    expect(await g.count('oauth_tokens')).toBe(0)
    expect(await g.count('events')).toBe(0)
  })

  test('§5.1 an exchange that throws ends the flow, and nothing of the error is shown', async () => {
    const { ticket, flowId } = await g.ticketFor(alice)
    g.google.exchangeWith = () => Promise.reject(new Error('body: refresh_token=canary'))
    expect(await complete(ticket)).toEqual({ kind: 'failed', reason: 'exchange_broke' })
    expect((await g.flow(flowId)).wiped).toBe(true)
    expect(g.lines.join()).not.toContain('canary')
  })

  test('§5.1 an exchange that hangs is told to stop after ten seconds and never redeemed again', async () => {
    const { ticket, flowId } = await g.ticketFor(alice)
    let told = false
    g.google.exchangeWith = ({ signal }) =>
      new Promise(() => {
        signal.addEventListener('abort', () => {
          told = true
        })
      })
    expect(await complete(ticket)).toEqual({ kind: 'failed', reason: 'timeout' })
    expect(told).toBe(true)
    expect(await g.flow(flowId)).toEqual({ status: 'failed', reason: 'timeout', wiped: true })
    expect(g.google.exchanged).toHaveLength(1)
  }, 20_000)

  test('no transaction is open while the provider is asked', async () => {
    const { ticket } = await g.ticketFor(alice)
    let open = -1
    g.google.exchangeWith = async () => {
      const rows = await g.db.rows(sql`
        select 1 from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid() and state like 'idle in transaction%'`)
      open = rows.length
      return granted()
    }
    await complete(ticket)
    expect(open).toBe(0)
  })

  test('when what follows cannot be written, nothing is, and the flow has failed', async () => {
    const { ticket, flowId } = await g.ticketFor(alice)
    const needs = {
      ...g.needs,
      subscriptions: { ...g.subscriptions, subscribe: () => Promise.reject(new Error('no')) },
    }
    expect(await complete(ticket, alice, `session of ${alice}`, needs)).toEqual({
      kind: 'failed',
      reason: 'not_stored',
    })
    expect(await g.count('oauth_tokens')).toBe(0)
    expect(await g.count('events')).toBe(0)
    expect(await g.flow(flowId)).toEqual({ status: 'failed', reason: 'not_stored', wiped: true })
  })

  describe('connecting the same account again', () => {
    const reconnect = async (exchange: Parameters<typeof granted>[0]) => {
      const { ticket } = await g.ticketFor(alice)
      g.google.exchangeWith = async () => granted(exchange)
      const outcome = await complete(ticket)
      if (outcome.kind !== 'connected') throw new Error(outcome.kind)
      return outcome.connectionId
    }
    const refreshTokenOf = async (id: string) => {
      const row = await g.db.one<{ data_key: string; refresh_token: string | null }>(
        sql`select data_key, refresh_token from auth.oauth_tokens where id = ${id}`,
      )
      if (row?.refresh_token == null) return undefined
      return g.vault
        .open(row.data_key, { purpose: 'oauth_tokens', owner: alice, row: id, provider: 'google' })
        .unseal('refresh_token', row.refresh_token)
        .reveal()
    }

    test('keeps its id and its earlier refresh token when the answer has none', async () => {
      const first = await reconnect({ refreshToken: 'refresh-first' })
      const second = await reconnect({ refreshToken: undefined, accessToken: 'access-second' })
      expect(second).toBe(first)
      expect(await refreshTokenOf(first)).toBe('refresh-first')
      const token = await accessToken(g.needs, first, 60)
      expect(token.kind === 'token' && token.accessToken.reveal()).toBe('access-second')
      expect(await reconnect({ refreshToken: 'refresh-third' })).toBe(first)
      expect(await refreshTokenOf(first)).toBe('refresh-third')
      expect(await g.eventTypes()).toEqual([
        'ca.flovify.connection.v1.created',
        'ca.flovify.connection.v1.reauthorized',
        'ca.flovify.connection.v1.reauthorized',
      ])
      expect(await g.count('subscriptions')).toBe(1)
    })

    test('after a disconnect it begins with a new data key and without the earlier refresh token', async () => {
      const id = await reconnect({ refreshToken: 'refresh-first' })
      await disconnect(g.needs, id, { userId: alice, role: 'user' })
      expect(await reconnect({ refreshToken: undefined })).toBe(id)
      expect(await refreshTokenOf(id)).toBeUndefined()
      expect(await accessToken(g.needs, id, 60)).toMatchObject({ kind: 'token' })
      const rows = await g.db.rows<{ state: string }>(
        sql`select state from auth.subscriptions order by created_at`,
      )
      expect(rows.map(({ state }) => state)).toEqual(['stopped', 'wanted'])
    })

    test('another account, or the same account of another user, is another connection', async () => {
      const first = await reconnect({})
      expect(await reconnect({ key: 'tenant:carol' })).not.toBe(first)
      const { ticket } = await g.ticketFor(bob)
      g.google.exchangeWith = async () => granted()
      const outcome = await complete(ticket, bob, `session of ${bob}`)
      expect(outcome.kind === 'connected' && outcome.connectionId !== first).toBe(true)
      expect(await g.count('oauth_tokens')).toBe(3)
    })

    test('OA-11 fewer scopes than asked are stored, named, and nothing that needs them is subscribed', async () => {
      const id = await reconnect({ missing: ['mail.read'] })
      const [view] = await listConnections(g.needs, { userId: alice, role: 'user' })
      expect(view).toMatchObject({
        id,
        status: 'partial',
        status_reason: 'scopes_missing',
        scopes_granted: ['openid'],
        scopes_missing: ['mail.read'],
        subscriptions: [],
      })
    })
  })

  describe('the sweep', () => {
    test('OA-15 ends and wipes flows past their time and parked codes older than three minutes, and no others', async () => {
      const begun = await g.begin(alice)
      const parked = await g.ticketFor(alice)
      await g.wait(170)
      expect(await sweepFlows(g.db)).toEqual({ expired: 0, failedUnknown: 0 })
      await g.wait(15)
      expect(await sweepFlows(g.db)).toEqual({ expired: 1, failedUnknown: 0 })
      expect(await g.flow(parked.flowId)).toEqual({ status: 'expired', reason: 'expired', wiped: true })
      expect((await g.flow(begun.flowId)).status).toBe('created')
      expect(await complete(parked.ticket)).toEqual(REFUSED)
      await g.wait(430)
      expect(await sweepFlows(g.db)).toEqual({ expired: 1, failedUnknown: 0 })
      expect(await g.flow(begun.flowId)).toEqual({ status: 'expired', reason: 'expired', wiped: true })
      const held = await g.db.rows(sql`
        select 1 from auth.oauth_states where code is not null and returned_at < auth.clock() - interval '3 minutes'`)
      expect(held).toHaveLength(0)
      expect(g.google.exchanged).toEqual([])
      await g.wait(8 * 24 * 3600)
      await sweepFlows(g.db)
      expect(await g.db.rows(sql`select 1 from auth.oauth_states`)).toHaveLength(0)
    })

    test('OA-14 an exchange whose process died is failed_unknown after a minute; its code is never redeemed again', async () => {
      const { ticket, flowId } = await g.ticketFor(alice)
      // the provider answered and the process died before the commit: as far as the database knows, it hangs
      let die = () => {}
      g.google.exchangeWith = () =>
        new Promise((resolve) => {
          die = () => resolve(granted())
        })
      const dying = complete(ticket)
      while (g.google.exchanged.length === 0) await pause(10)
      await g.wait(55)
      expect(await sweepFlows(g.db)).toEqual({ expired: 0, failedUnknown: 0 })
      await g.wait(10)
      expect(await sweepFlows(g.db)).toEqual({ expired: 0, failedUnknown: 1 })
      expect(await g.flow(flowId)).toEqual({ status: 'failed', reason: 'failed_unknown', wiped: true })
      expect(await complete(ticket)).toEqual({ kind: 'failed', reason: 'failed_unknown' })
      // and should it come back to life, what it brings is dropped
      die()
      expect(await dying).toEqual({ kind: 'failed', reason: 'not_stored' })
      expect(await g.flow(flowId)).toEqual({ status: 'failed', reason: 'failed_unknown', wiped: true })
      expect(await g.count('oauth_tokens')).toBe(0)
      expect(g.google.exchanged).toEqual(['code-1'])
    })
  })
})
