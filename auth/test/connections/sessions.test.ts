import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  beginSessionByLink,
  callerOfSession,
  currentSession,
  endSession,
  makeSigninLink,
} from '../../src/connections/sessions.ts'
import { sweepSessions } from '../../src/connections/sweep.ts'
import { sql } from '../../src/db/sql.ts'
import { type Ground, openGround } from './ground.ts'

describe('sessions', () => {
  let g: Ground
  beforeAll(async () => {
    g = await openGround()
  })
  afterAll(() => g.close())
  beforeEach(() => g.clear())

  const link = async (email = 'alice@example.com', role: 'user' | 'admin' = 'user') => {
    const made = await makeSigninLink(g, { email, role, actor: 'test' })
    if (made.kind !== 'made') throw new Error(made.kind)
    return made
  }
  const signIn = async (email?: string, role?: 'user' | 'admin') => {
    const begun = await beginSessionByLink(g, (await link(email, role)).token)
    if (begun.kind !== 'begun') throw new Error(begun.kind)
    return begun
  }

  test('a link makes its user when unknown, and finds it again in any case', async () => {
    await link('alice@example.com')
    await link('Alice@Example.com')
    await Promise.all(Array.from({ length: 10 }, () => link('new@example.com')))
    const users = await g.db.rows<{ email: string }>(sql`select email from auth.users order by email`)
    expect(users.map(({ email }) => email)).toEqual(['alice@example.com', 'new@example.com'])
  })

  test('a link begins one session with its role, for twelve hours', async () => {
    const { token, session } = await signIn('root@example.com', 'admin')
    expect(token).toMatch(/^[A-Za-z0-9_-]{43}$/)
    expect(session).toMatchObject({ email: 'root@example.com', role: 'admin', name: null })
    expect(await currentSession(g, token)).toEqual(session)
    expect(await callerOfSession(g, token)).toEqual({
      userId: session.user_id,
      role: 'admin',
      familyId: session.family_id,
      email: 'root@example.com',
    })
    await g.wait(11 * 3600)
    expect(await currentSession(g, token)).toBeDefined()
    await g.wait(3601)
    expect(await currentSession(g, token)).toBeUndefined()
  })

  test('of twenty who redeem a link at once, one gets a session', async () => {
    const { token } = await link()
    const outcomes = await Promise.all(Array.from({ length: 20 }, () => beginSessionByLink(g, token)))
    expect(outcomes.filter(({ kind }) => kind === 'begun')).toHaveLength(1)
    expect(outcomes.filter(({ kind }) => kind === 'refused')).toHaveLength(19)
    expect(await g.count('sessions')).toBe(1)
  })

  test('a link is worth nothing after ten minutes, and neither is one that never was', async () => {
    const { token } = await link()
    await g.wait(601)
    expect(await beginSessionByLink(g, token)).toEqual({ kind: 'refused' })
    expect(await beginSessionByLink(g, 'x'.repeat(43))).toEqual({ kind: 'refused' })
    expect(await beginSessionByLink(g, '')).toEqual({ kind: 'refused' })
    expect(await g.count('sessions')).toBe(0)
  })

  test('OP-01 neither link nor session token stands in the database', async () => {
    const made = await link()
    const begun = await beginSessionByLink(g, made.token)
    const texts = await g.db.rows<{ text: string }>(sql`
      select to_jsonb(x)::text "text" from auth.sessions x union all select to_jsonb(x)::text from auth.signin_links x
      union all select to_jsonb(x)::text from auth.audit x`)
    const all = texts.map(({ text }) => text).join()
    const hex = (token: string) => Buffer.from(token, 'base64url').toString('hex')
    for (const token of [made.token, begun.kind === 'begun' ? begun.token : '']) {
      expect(token).not.toBe('')
      expect(all).not.toContain(token)
      expect(all).not.toContain(hex(token))
    }
  })

  test('BC-05 signing out ends what was begun: no code can come back, none that waits is redeemed, and it is wiped', async () => {
    const { token, session } = await signIn()
    const alice = session.user_id
    const bob = await g.user('bob@example.com')
    const waiting = await g.ticketFor(alice)
    const begun = await g.begin(alice)
    const his = await g.begin(bob)
    await endSession(g, token)
    for (const flowId of [waiting.flowId, begun.flowId])
      expect(await g.flow(flowId)).toEqual({ status: 'rejected', reason: 'signed_out', wiped: true })
    expect(await g.flow(his.flowId)).toMatchObject({ status: 'created' })
    const answer = await g.callback('google', [
      ['code', 'late'],
      ['state', begun.state],
    ])
    expect(answer.status).toBe(400)
    expect(g.google.exchanged).toEqual([])
  })

  test('BC-05 a user who is gone is signed out with the next call', async () => {
    const { token, session } = await signIn()
    expect(await callerOfSession(g, token)).toBeDefined()
    await g.db.rows(sql`delete from auth.users where id::text = ${session.user_id}`)
    expect(await callerOfSession(g, token)).toBeUndefined()
  })

  test('BC-05 signing out ends the whole family at once, and no other', async () => {
    const alice = await signIn()
    const elsewhere = await signIn()
    const bob = await signIn('bob@example.com')
    expect(elsewhere.session.family_id).not.toBe(alice.session.family_id)
    await endSession(g, alice.token)
    expect(await currentSession(g, alice.token)).toBeUndefined()
    expect(await currentSession(g, elsewhere.token)).toBeDefined()
    expect(await currentSession(g, bob.token)).toBeDefined()
    await endSession(g, 'x'.repeat(43))
    expect(await g.audited('session.ended')).toHaveLength(1)
  })

  test('BC-05 a deleted user has no session any more', async () => {
    const { token, session } = await signIn()
    await g.db.rows(sql`delete from auth.users where id::text = ${session.user_id}`)
    expect(await currentSession(g, token)).toBeUndefined()
  })

  test('what cannot be a token costs no query', async () => {
    const db = { ...g.db, one: () => Promise.reject(new Error('asked')) }
    for (const token of ['', 'short', 'x'.repeat(44), `${'x'.repeat(42)}!`])
      expect(await currentSession({ db }, token)).toBeUndefined()
    await expect(currentSession({ db }, 'x'.repeat(43))).rejects.toThrow('asked')
  })

  test('ended sessions and links are deleted after a week', async () => {
    await signIn()
    await g.wait(2 * 24 * 3600)
    await sweepSessions(g.db)
    expect(await g.count('sessions')).toBe(1)
    await g.wait(6 * 24 * 3600)
    await sweepSessions(g.db)
    expect(await g.count('sessions')).toBe(0)
    expect(await g.db.rows(sql`select 1 from auth.signin_links`)).toHaveLength(0)
  })
})
