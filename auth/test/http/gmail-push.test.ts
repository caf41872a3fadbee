/** WI-01 for Gmail: the OIDC token of a Pub/Sub push, against keys that a real server on loopback gives out. */
import { createHash } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, type GenerateKeyPairResult, generateKeyPair, SignJWT } from 'jose'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { openWorld, type World } from '../world.ts'
import { forget, seedMailbox, stored } from './people.ts'
import { type Answer, ask } from './wire.ts'

const ADDRESS = 'ada@example.com'
const PATH = '/webhook/events/google'
const ISSUER = 'http://127.0.0.1:9'

let world: World
let certificates: Server
let keys: GenerateKeyPairResult
let strangers: GenerateKeyPairResult

beforeAll(async () => {
  keys = await generateKeyPair('RS256')
  strangers = await generateKeyPair('RS256')
  const jwk = { ...(await exportJWK(keys.publicKey)), kid: 'k1', alg: 'RS256', use: 'sig' }
  certificates = createServer((request, response) => {
    const known = request.url === '/oauth2/v3/certs'
    response.writeHead(known ? 200 : 404, { 'content-type': 'application/json' })
    response.end(known ? JSON.stringify({ keys: [jwk] }) : '{}')
  })
  await new Promise<void>((resolve) => certificates.listen(0, '127.0.0.1', resolve))
  const { port } = certificates.address() as AddressInfo
  world = await openWorld({ environment: { GOOGLE_API_URL: `http://127.0.0.1:${port}` } })
  await seedMailbox(world.db, ADDRESS)
})
afterAll(async () => {
  await world.close()
  certificates.closeAllConnections()
  certificates.close()
})
beforeEach(() => forget(world.db))

const claims = () => {
  const now = Math.floor(Date.now() / 1000)
  return {
    iss: ISSUER,
    aud: world.environment.GOOGLE_PUBSUB_AUDIENCE ?? '',
    azp: '113774264463038321964',
    sub: '113774264463038321964',
    email: world.environment.GOOGLE_PUBSUB_SERVICE_ACCOUNT,
    email_verified: true,
    iat: now,
    exp: now + 3600,
  }
}

interface Forgery {
  readonly claims?: Readonly<Record<string, unknown>>
  readonly header?: Readonly<Record<string, unknown>>
  /** Signed by a key that is not in the set. */
  readonly strange?: boolean
}

function token(forgery: Forgery = {}): Promise<string> {
  const all = Object.fromEntries(
    Object.entries({ ...claims(), ...forgery.claims }).filter(([, value]) => value !== undefined),
  )
  return new SignJWT(all)
    .setProtectedHeader({ alg: 'RS256', kid: 'k1', typ: 'JWT', ...forgery.header })
    .sign((forgery.strange ? strangers : keys).privateKey)
}

/** The form of a wrapped push. Source: Cloud Pub/Sub, push subscriptions; Gmail API, push notifications. */
const push = (messageId: string, more: Record<string, unknown> = {}) =>
  JSON.stringify({
    message: {
      data: Buffer.from(JSON.stringify({ emailAddress: ADDRESS, historyId: '9876543210' })).toString(
        'base64',
      ),
      messageId,
      publishTime: '2026-11-23T10:00:00.000Z',
    },
    subscription: world.environment.GOOGLE_PUBSUB_SUBSCRIPTION,
    ...more,
  })

const post = (authorization: string | readonly string[] | undefined, body = push('1')): Promise<Answer> =>
  ask(world.publicPort, {
    method: 'POST',
    path: PATH,
    body,
    headers: {
      'content-type': 'application/json',
      ...(authorization === undefined ? {} : { authorization }),
    },
  })

const nothing = { notifications: 0, events: 0 }

describe('WI-01 Gmail', () => {
  test('WI-01 a genuine push is answered 204, and its bytes are stored as they came', async () => {
    const body = push('genuine')
    const answer = await post(`Bearer ${await token()}`, body)
    expect(answer.status).toBe(204)
    const [row] = await world.db.rows<{ body: Buffer; body_sha256: Buffer; headers: Buffer }>(
      sql`select body, body_sha256, headers from auth.notifications`,
    )
    expect(row?.body.toString()).toBe(body)
    expect(row?.body_sha256.equals(createHash('sha256').update(body).digest())).toBe(true)
    expect(row?.headers.toString()).not.toMatch(/bearer|authorization/i)
    expect(await stored(world.db)).toEqual({ notifications: 1, events: 1 })
  })

  const forgeries: [string, Forgery][] = [
    ['another audience', { claims: { aud: 'https://another.example/webhook/events/google' } }],
    ['the OAuth client as audience', { claims: { aud: 'client-of-google' } }],
    [
      'ours among several audiences',
      { claims: { aud: ['https://another.example', 'https://webhooks.example.com/webhook/events/google'] } },
    ],
    ['no audience', { claims: { aud: undefined } }],
    ['another service account', { claims: { email: 'push@another.iam.gserviceaccount.com' } }],
    ['no service account', { claims: { email: undefined } }],
    ['an address that is not verified', { claims: { email_verified: false } }],
    ['no word about verification', { claims: { email_verified: undefined } }],
    ['another issuer', { claims: { iss: 'https://accounts.example.com' } }],
    ['no issuer', { claims: { iss: undefined } }],
    ['an end in the past', { claims: { iat: 1_700_000_000, exp: 1_700_003_600 } }],
    ['no end', { claims: { exp: undefined } }],
    ['a beginning in the future', { claims: { iat: Math.floor(Date.now() / 1000) + 3_000 } }],
    ['another key under our key id', { strange: true }],
    ['an unknown key id', { header: { kid: 'k2' } }],
    ['no key id', { header: { kid: undefined } }],
  ]
  test.each(forgeries)('WI-01 a token with %s: 401, and nothing is stored', async (_, forgery) => {
    expect((await post(`Bearer ${await token(forgery)}`)).status).toBe(401)
    expect(await stored(world.db)).toEqual(nothing)
  })

  test('WI-01 a token of another algorithm: 401, and nothing is stored', async () => {
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const unsigned = `${part({ alg: 'none', kid: 'k1' })}.${part(claims())}.`
    const shared = new TextEncoder().encode(JSON.stringify(await exportJWK(keys.publicKey)))
    const symmetric = await new SignJWT(claims()).setProtectedHeader({ alg: 'HS256', kid: 'k1' }).sign(shared)
    const pss = await generateKeyPair('PS256')
    const other = await new SignJWT(claims())
      .setProtectedHeader({ alg: 'PS256', kid: 'k1', jwk: await exportJWK(pss.publicKey) })
      .sign(pss.privateKey)
    for (const forged of [unsigned, `${unsigned}AA`, symmetric, other])
      expect((await post(`Bearer ${forged}`)).status).toBe(401)
    expect(await stored(world.db)).toEqual(nothing)
  })

  test('WI-01 WI-11 no token or a malformed one: 401, two: 400, and nothing is stored', async () => {
    const good = await token()
    const [head = '', body = '', signature = ''] = good.split('.')
    const wrong: (string | readonly string[] | undefined)[] = [
      undefined,
      '',
      'Bearer',
      'Bearer ',
      good,
      `bearer ${good}`,
      `Basic ${good}`,
      `Bearer  ${good}`,
      `Bearer ${good} x`,
      `Bearer ${head}.${body}.${signature.slice(0, -8)}`,
      `Bearer ${head}.${Buffer.from(JSON.stringify({ ...claims(), sub: '1' })).toString('base64url')}.${signature}`,
      `Bearer ${good}, Bearer ${good}`,
    ]
    for (const authorization of wrong) expect((await post(authorization)).status).toBe(401)
    for (const second of [`Bearer ${good}`, 'Bearer x.y.z'])
      expect((await post([`Bearer ${good}`, second])).status).toBe(400)
    expect(await stored(world.db)).toEqual(nothing)
  })

  test('WI-01 a body that Pub/Sub did not wrap: 400; of another subscription: 401; nothing is stored', async () => {
    const bearer = `Bearer ${await token()}`
    const data = JSON.stringify({ emailAddress: ADDRESS, historyId: '1' })
    for (const body of [data, '', '{', '[]', '{"message":"x"}'])
      expect((await post(bearer, body)).status).toBe(400)
    const other = push('1', { subscription: 'projects/another/subscriptions/gmail' })
    expect((await post(bearer, other)).status).toBe(401)
    expect(await stored(world.db)).toEqual(nothing)
  })

  test('WI-01 a genuine push at a path with a ref: 404, and nothing is stored', async () => {
    const answer = await ask(world.publicPort, {
      method: 'POST',
      path: `${PATH}/ref`,
      body: push('1'),
      headers: { authorization: `Bearer ${await token()}` },
    })
    expect(answer.status).toBe(404)
    expect(await stored(world.db)).toEqual(nothing)
  })

  test('WI-01 while the keys cannot be fetched a push is neither believed nor refused for good: 503', async () => {
    const dark = await openWorld()
    try {
      await seedMailbox(dark.db, ADDRESS)
      const answer = await ask(dark.publicPort, {
        method: 'POST',
        path: PATH,
        body: push('1'),
        headers: { authorization: `Bearer ${await token()}` },
      })
      expect(answer.status).toBe(503)
      expect(answer.headers['retry-after']).toMatch(/^\d+$/)
      expect(answer.ms).toBeLessThan(2_500)
      expect(await stored(dark.db)).toEqual(nothing)
    } finally {
      await dark.close()
    }
  })
})
