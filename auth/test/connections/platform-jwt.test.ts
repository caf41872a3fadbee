import { createHmac } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Secret } from '@flovify/providers'
import {
  type CryptoKey,
  exportJWK,
  exportSPKI,
  generateKeyPair,
  type JWTHeaderParameters,
  SignJWT,
} from 'jose'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openPlatformJwt, type PlatformJwtSettings } from '../../src/connections/platform-jwt.ts'
import { beginSessionByPlatformJwt, currentSession } from '../../src/connections/sessions.ts'
import { type Ground, openGround } from './ground.ts'

const SECRET = 'a platform secret of at least 32 bytes'
const ISSUER = 'https://platform.example'
const AUDIENCE = 'flovify-connect'
const clock = { now: () => new Date() }
const settings = { issuer: ISSUER, audience: AUDIENCE, userClaim: 'sub', adminClaim: 'roles=admin' }
const REFUSED = { kind: 'refused' }

describe("the platform's session JWT", () => {
  let g: Ground
  let alice: string
  let rsa: Awaited<ReturnType<typeof generateKeyPair>>
  let ec: Awaited<ReturnType<typeof generateKeyPair>>
  let okp: Awaited<ReturnType<typeof generateKeyPair>>
  let other: Awaited<ReturnType<typeof generateKeyPair>>
  let jwks: Server
  let jwksUrl: string
  let asked: string[] = []
  let jwksStatus = 200

  beforeAll(async () => {
    g = await openGround()
    rsa = await generateKeyPair('RS256', { extractable: true })
    ec = await generateKeyPair('ES256', { extractable: true })
    okp = await generateKeyPair('EdDSA', { extractable: true })
    other = await generateKeyPair('RS256', { extractable: true })
    const keys = [
      { ...(await exportJWK(rsa.publicKey)), kid: 'rsa', alg: 'RS256', use: 'sig' },
      { ...(await exportJWK(ec.publicKey)), kid: 'ec', alg: 'ES256', use: 'sig' },
      { ...(await exportJWK(okp.publicKey)), kid: 'okp', alg: 'EdDSA', use: 'sig' },
    ]
    jwks = createServer((request, response) => {
      asked.push(request.url ?? '')
      response.writeHead(jwksStatus, { 'content-type': 'application/json' }).end(JSON.stringify({ keys }))
    })
    await new Promise<void>((resolve) => jwks.listen(0, '127.0.0.1', resolve))
    jwksUrl = `http://127.0.0.1:${(jwks.address() as AddressInfo).port}/jwks`
  })
  afterAll(async () => {
    await g.close()
    jwks.closeAllConnections()
    await new Promise((resolve) => jwks.close(resolve))
  })
  beforeEach(async () => {
    await g.clear()
    asked = []
    jwksStatus = 200
    alice = await g.user('alice@example.com')
  })

  const begin = (more: Partial<PlatformJwtSettings>, jwt: string) =>
    beginSessionByPlatformJwt(
      { db: g.db, platformJwt: openPlatformJwt({ fetch, clock }, { ...settings, ...more }) },
      jwt,
    )
  const bySecret = (jwt: string, more: Partial<PlatformJwtSettings> = {}) =>
    begin({ secret: new Secret(SECRET), ...more }, jwt)
  const byKeys = (jwt: string) => begin({ jwksUrl }, jwt)

  const claims = (more: Record<string, unknown> = {}) => ({
    sub: alice,
    iss: ISSUER,
    aud: AUDIENCE,
    exp: Math.floor(Date.now() / 1000) + 600,
    ...more,
  })
  const hs256 = (payload: object, header: object = {}, secret: string | Buffer = SECRET) =>
    raw({ alg: 'HS256', ...header }, payload, secret)
  /** Made by hand, so that headers which no library writes can be written. */
  const raw = (header: object, payload: object, secret: string | Buffer) => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const text = `${part(header)}.${part(payload)}`
    return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`
  }
  const signed = (key: CryptoKey, header: JWTHeaderParameters, payload: Record<string, unknown> = claims()) =>
    new SignJWT(payload).setProtectedHeader(header).sign(key)

  test('begins a session of the existing user, which ends with the JWT', async () => {
    const exp = Math.floor(Date.now() / 1000) + 600
    const begun = await bySecret(hs256(claims({ exp })))
    expect(begun).toMatchObject({ kind: 'begun', session: { user_id: alice, role: 'user' } })
    if (begun.kind !== 'begun') return
    expect(begun.session.expires_at).toBe(new Date(exp * 1000).toISOString())
    // its end is a whole second
    await g.wait(590)
    expect(await currentSession(g, begun.token)).toBeDefined()
    await g.wait(11)
    expect(await currentSession(g, begun.token)).toBeUndefined()
  })

  test('lasts twelve hours at most, however long the JWT does', async () => {
    for (const exp of [Math.floor(Date.now() / 1000) + 90 * 86_400, 1e15]) {
      const begun = await bySecret(hs256(claims({ exp })))
      const seconds = begun.kind === 'begun' ? (Date.parse(begun.session.expires_at) - Date.now()) / 1000 : 0
      expect(seconds).toBeGreaterThan(12 * 3600 - 30)
      expect(seconds).toBeLessThanOrEqual(12 * 3600)
    }
  })

  test('is accepted by RS256, ES256 and EdDSA of the configured key set', async () => {
    expect((await byKeys(await signed(rsa.privateKey, { alg: 'RS256', kid: 'rsa' }))).kind).toBe('begun')
    expect((await byKeys(await signed(ec.privateKey, { alg: 'ES256', kid: 'ec', typ: 'JWT' }))).kind).toBe(
      'begun',
    )
    expect((await byKeys(await signed(okp.privateKey, { alg: 'EdDSA', kid: 'okp', typ: 'jwt' }))).kind).toBe(
      'begun',
    )
    expect((await byKeys(await signed(rsa.privateKey, { alg: 'RS256' }))).kind).toBe('begun')
  })

  test('BC-04 alg none, in any spelling, is refused', async () => {
    for (const alg of ['none', 'None', 'NONE', 'nOnE', '']) {
      const unsigned = raw({ alg, typ: 'JWT' }, claims(), SECRET).split('.').slice(0, 2).join('.')
      for (const jwt of [`${unsigned}.`, raw({ alg, typ: 'JWT' }, claims(), SECRET)]) {
        expect(await bySecret(jwt)).toEqual(REFUSED)
        expect(await byKeys(jwt)).toEqual(REFUSED)
      }
    }
  })

  test('BC-04 HS256 signed with the public key is refused', async () => {
    const pem = await exportSPKI(rsa.publicKey)
    const jwk = JSON.stringify(await exportJWK(rsa.publicKey))
    for (const secret of [pem, pem.trim(), jwk])
      for (const kid of ['rsa', 'ec', undefined])
        expect(await byKeys(hs256(claims(), kid === undefined ? {} : { kid }, secret))).toEqual(REFUSED)
  })

  test('BC-04 other algorithms than the configured are refused, also with the right key', async () => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const text = `${part({ alg: 'HS512' })}.${part(claims())}`
    const hs512 = `${text}.${createHmac('sha512', SECRET).update(text).digest('base64url')}`
    expect(await bySecret(hs512)).toEqual(REFUSED)
    expect(await bySecret(await signed(rsa.privateKey, { alg: 'RS256', kid: 'rsa' }))).toEqual(REFUSED)
    const ps = await generateKeyPair('PS256')
    expect(await byKeys(await signed(ps.privateKey, { alg: 'PS256', kid: 'rsa' }))).toEqual(REFUSED)
  })

  test('BC-04 jwk, jku, x5u and kid of the header name no key and fetch nothing', async () => {
    const jwk = await exportJWK(other.publicKey)
    const evil = jwksUrl.replace('/jwks', '/evil')
    const headers: JWTHeaderParameters[] = [
      { alg: 'RS256', jwk },
      { alg: 'RS256', kid: 'rsa', jwk },
      { alg: 'RS256', kid: 'rsa', jku: evil },
      { alg: 'RS256', kid: 'rsa', x5u: evil },
      { alg: 'RS256', kid: evil },
      { alg: 'RS256', kid: '../../../../dev/null' },
      { alg: 'RS256', kid: "rsa' or '1'='1" },
      { alg: 'RS256', kid: '__proto__' },
      { alg: 'RS256', kid: '' },
    ]
    for (const header of headers)
      expect(await byKeys(await signed(other.privateKey, header)), JSON.stringify(header)).toEqual(REFUSED)
    expect(asked).not.toContain('/evil')
    // with the right signature the same headers change nothing
    const harmless = await signed(rsa.privateKey, { alg: 'RS256', kid: 'rsa', jwk, jku: evil, x5u: evil })
    expect((await byKeys(harmless)).kind).toBe('begun')
    expect(asked).not.toContain('/evil')
    expect((await bySecret(hs256(claims(), { kid: '../../etc/passwd' }))).kind).toBe('begun')
  })

  test.each([
    ['another issuer', { iss: 'https://evil.example' }],
    ['no issuer', { iss: undefined }],
    ['another audience', { aud: 'another' }],
    ['no audience', { aud: undefined }],
    ['expired', { exp: Math.floor(Date.now() / 1000) - 60 }],
    ['no exp', { exp: undefined }],
    ['an exp that is no number', { exp: '9999999999' }],
    ['not yet valid', { nbf: Math.floor(Date.now() / 1000) + 60 }],
    ['no user', { sub: undefined }],
    ['an unknown user', { sub: '424242' }],
    ['a user that is no id', { sub: "1' or '1'='1" }],
    ['a user that is a list', { sub: ['1'] }],
    ['an empty user', { sub: '' }],
  ])('BC-04 %s is refused', async (_name, wrong) => {
    expect(await bySecret(hs256(claims(wrong)))).toEqual(REFUSED)
    expect(await byKeys(await signed(rsa.privateKey, { alg: 'RS256', kid: 'rsa' }, claims(wrong)))).toEqual(
      REFUSED,
    )
  })

  test('BC-04 another typ, a crit header, and what is no JWT are refused', async () => {
    for (const typ of ['at+jwt', 'dpop+jwt', 'secevent+jwt', 'JWE', 1, null, ''])
      expect(await bySecret(hs256(claims(), { typ })), String(typ)).toEqual(REFUSED)
    for (const header of [
      { crit: ['exp'], exp: 1 },
      { crit: ['b64'], b64: true },
      { crit: [] },
      { crit: 'x' },
    ])
      expect(await bySecret(hs256(claims(), header)), JSON.stringify(header)).toEqual(REFUSED)
    const good = hs256(claims())
    const [header, payload, signature] = good.split('.')
    const broken = [
      '',
      '.',
      '..',
      'a.b.c',
      `${good}.x`,
      `${header}.${payload}`,
      `${header}.${payload}.${signature?.slice(1)}`,
      `${header}..${signature}`,
      'x'.repeat(9_000),
      hs256(claims(), {}, 'another secret that is long enough too'),
    ]
    for (const jwt of broken) expect(await bySecret(jwt)).toEqual(REFUSED)
  })

  test('without configuration no JWT is accepted', async () => {
    expect(await beginSessionByPlatformJwt({ db: g.db, platformJwt: undefined }, hs256(claims()))).toEqual(
      REFUSED,
    )
  })

  test('the admin claim makes an admin only by exactly its value', async () => {
    const role = async (more: Record<string, unknown>, adminClaim?: string) => {
      const judge = openPlatformJwt(
        { fetch, clock },
        {
          issuer: ISSUER,
          audience: AUDIENCE,
          userClaim: 'sub',
          secret: new Secret(SECRET),
          ...(adminClaim === undefined ? {} : { adminClaim }),
        },
      )
      const begun = await beginSessionByPlatformJwt({ db: g.db, platformJwt: judge }, hs256(claims(more)))
      return begun.kind === 'begun' ? begun.session.role : undefined
    }
    expect(await role({ role: 'admin' }, 'role=admin')).toBe('admin')
    expect(await role({ role: ['x', 'admin'] }, 'role=admin')).toBe('admin')
    expect(await role({ admin: true }, 'admin')).toBe('admin')
    for (const value of ['Admin', 'admin ', 'administrator', true, { admin: true }, ['ADMIN']])
      expect(await role({ role: value }, 'role=admin')).toBe('user')
    for (const value of ['true', 1, 'admin', [true], {}])
      expect(await role({ admin: value }, 'admin')).toBe('user')
    expect(await role({ role: 'admin', admin: true })).toBe('user')
    expect(await role({}, 'toString')).toBe('user')
  })

  test('another claim may name the user, also as a number', async () => {
    expect((await bySecret(hs256(claims({ sub: 'x', uid: Number(alice) })), { userClaim: 'uid' })).kind).toBe(
      'begun',
    )
    expect(await bySecret(hs256(claims({ sub: alice })), { userClaim: 'uid' })).toEqual(REFUSED)
    expect(await bySecret(hs256(claims()), { userClaim: 'constructor' })).toEqual(REFUSED)
  })

  test('WI-13 keys that cannot be read are a 503 matter, and the last known ones serve meanwhile', async () => {
    const judge = openPlatformJwt({ fetch, clock }, { ...settings, jwksUrl })
    const token = await signed(rsa.privateKey, { alg: 'RS256', kid: 'rsa' })
    jwksStatus = 500
    expect(await judge(token)).toEqual({ kind: 'unavailable' })
    const warm = openPlatformJwt({ fetch, clock }, { ...settings, jwksUrl })
    jwksStatus = 200
    expect((await warm(token)).kind).toBe('valid')
    jwksStatus = 500
    expect((await warm(token)).kind).toBe('valid')
  })

  test('WI-13 a flood of unknown key ids reads the keys once', async () => {
    const judge = openPlatformJwt({ fetch, clock }, { ...settings, jwksUrl })
    const good = await signed(rsa.privateKey, { alg: 'RS256', kid: 'rsa' })
    expect((await judge(good)).kind).toBe('valid')
    for (let i = 0; i < 20; i += 1)
      expect((await judge(await signed(other.privateKey, { alg: 'RS256', kid: `unknown-${i}` }))).kind).toBe(
        'invalid',
      )
    expect(asked).toHaveLength(1)
  })

  test('a secret that is too short, or both kinds of key, is a fault of the operator', () => {
    const open = (more: Partial<PlatformJwtSettings>) => () =>
      openPlatformJwt({ fetch, clock }, { ...settings, ...more })
    expect(open({ secret: new Secret('short') })).toThrow(/32 bytes/)
    expect(open({})).toThrow(/exactly one/)
    expect(open({ secret: new Secret(SECRET), jwksUrl })).toThrow(/exactly one/)
  })
})
