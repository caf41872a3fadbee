import { createHash } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type BeginRequest, beginFlow } from '../../src/connections/begin.ts'
import { completeFlow } from '../../src/connections/complete.ts'
import { sql } from '../../src/db/sql.ts'
import { sha256 } from '../../src/platform/ids.ts'
import { bindingOf, type Ground, openGround, WEBHOOKS } from './ground.ts'

describe('beginning a flow', () => {
  let g: Ground
  let alice: string
  beforeAll(async () => {
    g = await openGround()
  })
  afterAll(() => g.close())
  beforeEach(async () => {
    await g.clear()
    alice = await g.user('alice@example.com')
  })

  const begin = (more: Partial<BeginRequest> = {}) =>
    beginFlow(g.needs, { userId: alice, provider: 'google', sessionBinding: bindingOf('a'), ...more })
  const flows = () => g.db.rows(sql`select 1 from auth.oauth_states`)

  test('OA-07 every flow has its own 256-bit state, nonce and S256 challenge, and its verifier fits', async () => {
    const seen = new Set<string>()
    for (let i = 0; i < 5; i += 1) {
      const begun = await begin()
      expect(begun.kind).toBe('begun')
      const asked = g.google.urls.at(-1)
      for (const value of [asked?.state, asked?.nonce, asked?.codeChallenge]) {
        expect(value).toMatch(/^[A-Za-z0-9_-]{43}$/)
        expect(seen.has(value ?? '')).toBe(false)
        seen.add(value ?? '')
      }
      expect(asked?.redirectUri).toBe(`${WEBHOOKS}/webhook/oauth/google/callback`)
    }
    // the verifier that is redeemed is the one that was challenged
    const state = g.google.urls.at(-1)?.state ?? ''
    const answer = await g.callback('google', [
      ['code', 'c'],
      ['state', state],
    ])
    const ticket = answer.headers.location?.split('#ticket=')[1] ?? ''
    await completeFlow(g.needs, { ticket, userId: alice, sessionBinding: bindingOf('a') })
    const exchange = g.google.exchanges[0]
    const challenge = createHash('sha256')
      .update(exchange?.codeVerifier.reveal() ?? '')
      .digest('base64url')
    expect(challenge).toBe(g.google.urls.at(-1)?.codeChallenge)
    expect(exchange?.nonce.reveal()).toBe(g.google.urls.at(-1)?.nonce)
  })

  test('OA-07 neither state, verifier nor nonce stands in the database as it is', async () => {
    const begun = await begin()
    const asked = g.google.urls[0]
    const [row] = await g.db.rows<{ all: string; state_hash: Buffer }>(
      sql`select to_jsonb(s)::text "all", state_hash from auth.oauth_states s`,
    )
    expect(row?.state_hash).toEqual(sha256(begun.kind === 'begun' ? begun.state : ''))
    expect(row?.all).not.toContain(asked?.state)
    expect(row?.all).not.toContain(asked?.nonce)
    expect(row?.all).not.toContain(asked?.codeChallenge)
  })

  test("a caller's state is used when it is strong enough, and only once", async () => {
    const strong = ['a-Z_0'.repeat(9), `${'A'.repeat(42)}-`, 'ab'.repeat(32)]
    for (const state of strong) expect(await begin({ state })).toMatchObject({ kind: 'begun', state })
    expect(await begin({ state: strong[0] ?? '' })).toEqual({ kind: 'refused', reason: 'state_used' })
    const weak = [
      '',
      'short',
      '-'.repeat(42),
      'ab'.repeat(31),
      'a'.repeat(43),
      `${'-'.repeat(43)}!`,
      '-'.repeat(257),
    ]
    for (const state of weak)
      expect(await begin({ state })).toEqual({ kind: 'refused', reason: 'invalid_state' })
  })

  test.each([
    ['unknown_provider', { provider: 'nobody' }],
    ['unknown_user', { userId: '999999' }],
    ['unknown_user', { userId: 'not-a-number' }],
    ['unknown_user', { userId: '99999999999999999999' }],
    ['invalid_binding', { sessionBinding: '' }],
    ['invalid_binding', { sessionBinding: 'A'.repeat(42) }],
    ['invalid_binding', { sessionBinding: `${'A'.repeat(42)}B` }],
    ['invalid_expiry', { expiresInSeconds: 601 }],
    ['invalid_expiry', { expiresInSeconds: 0 }],
    ['unknown_scope', { scopes: ['mail.read', 'everything'] }],
  ] as const)('it is refused with %s and nothing is stored: %j', async (reason, more) => {
    expect(await begin(more)).toEqual({ kind: 'refused', reason })
    expect(await flows()).toHaveLength(0)
  })

  test('scopes are those asked for, or the default', async () => {
    await begin({ scopes: ['files.read', 'files.read'] })
    await begin({ scopes: [] })
    expect(g.google.urls.map(({ scopes }) => scopes)).toEqual([['files.read'], ['openid', 'mail.read']])
  })

  test('a user has at most ten open flows, also when all are begun at once', async () => {
    const outcomes = await Promise.all(Array.from({ length: 16 }, () => begin()))
    expect(outcomes.filter(({ kind }) => kind === 'begun')).toHaveLength(10)
    expect(outcomes.filter((o) => o.kind === 'refused' && o.reason === 'too_many_flows')).toHaveLength(6)
    const bob = await g.user('bob@example.com')
    expect((await begin({ userId: bob })).kind).toBe('begun')
    await g.wait(601)
    expect((await begin()).kind).toBe('begun')
  })
})
