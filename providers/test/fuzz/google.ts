/** The verifiers of Google's folder for the fuzz test: Gmail's pushes by Pub/Sub, and security event tokens. */
import { createSign, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { google } from '../../src/google/index.ts'
import type { Lookup, NotificationRequest } from '../../src/provider.ts'
import { openWith } from '../conformance.ts'
import { AUDIENCE, type GoogleWorld, SERVICE_ACCOUNT, SUBSCRIPTION, startGoogle } from '../google/world.ts'
import { NOTHING_KNOWN, notification, startClock } from '../loopback.ts'
import { mutateJson } from './json-mutation.ts'
import { lenientJson, own, type Verifier } from './verifier.ts'

const RISC = 'https://schemas.openid.net/secevent/risc/event-type/'
const OAUTH = 'https://schemas.openid.net/secevent/oauth/event-type/'
const OWNERS: Readonly<Record<string, readonly string[]>> = {
  'user@example.com': ['1', '2'],
  'other@example.com': ['3'],
}
const LOOKUP: Lookup = {
  ...NOTHING_KNOWN,
  byAddress: async (address) =>
    (Object.hasOwn(OWNERS, address) ? (OWNERS[address] ?? []) : []).map((n) => ({
      connectionId: `con_${n}`,
      subscriptionId: `sub_${n}`,
    })),
}

/** What we know of the tokens that we made: the signed text, its signature, and what it says. */
interface Signed {
  readonly signature: Buffer
  readonly claims: unknown
}

interface Ground {
  readonly world: GoogleWorld
  readonly now: number
  readonly signed: Map<string, Signed>
  sign(claims: string, forged: boolean): string
  judge(request: NotificationRequest): ReturnType<Verifier['judge']>
}

async function startGround(): Promise<Ground> {
  const clock = startClock()
  const world = await startGoogle(clock)
  const [right, forger] = [
    generateKeyPairSync('rsa', { modulusLength: 2048 }),
    generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ]
  world.server.reply('/oauth2/v3/certs', {
    status: 200,
    body: { keys: [{ ...right.publicKey.export({ format: 'jwk' }), kid: 'k1', use: 'sig', alg: 'RS256' }] },
  })
  const { webhook } = openWith(google, world.environment, clock)
  const signed = new Map<string, Signed>()
  return {
    world,
    now: clock.now.getTime() / 1000,
    signed,
    sign(claims, forged) {
      const text = `${base64url('{"alg":"RS256","kid":"k1","typ":"JWT"}')}.${base64url(claims)}`
      const signature = rs256(text, forged ? forger.privateKey : right.privateKey)
      if (!forged) signed.set(text, { signature, claims: parsed(claims) })
      return `${text}.${signature.toString('base64url')}`
    },
    judge: (request) => webhook.judge(request, LOOKUP),
  }
}

const base64url = (text: string) => Buffer.from(text).toString('base64url')
const rs256 = (text: string, key: KeyObject) => createSign('RSA-SHA256').update(text).sign(key)

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** @returns the claims of a token that the provider's key signed in our time, whoever it is for */
function claimsOf({ signed, now }: Ground, token: string): unknown {
  const dot = token.lastIndexOf('.')
  const found = signed.get(token.slice(0, dot))
  // the last letter of base64url has unused bits: the signature is the same, however it is spelt
  if (found === undefined || !Buffer.from(token.slice(dot + 1), 'base64url').equals(found.signature))
    return undefined
  const [iat, nbf] = [own(found.claims, 'iat'), own(found.claims, 'nbf')]
  if (typeof iat !== 'number' || iat > now + 60) return undefined
  return nbf === undefined || (typeof nbf === 'number' && nbf <= now + 60) ? found.claims : undefined
}

function mayBelieve(ground: Ground, request: NotificationRequest): readonly string[] | undefined {
  if (request.method !== 'POST' || request.ref !== undefined) return undefined
  const said = claimsOf(ground, request.body.toString('latin1').trim())
  return said === undefined ? pushed(ground, request) : signalled(ground, said)
}

function pushed(ground: Ground, request: NotificationRequest): readonly string[] | undefined {
  const values = Object.hasOwn(request.headers, 'authorization') ? (request.headers.authorization ?? []) : []
  const [value = ''] = values
  if (values.length !== 1 || !value.startsWith('Bearer ')) return undefined
  const claims = claimsOf(ground, value.slice('Bearer '.length))
  const exp = own(claims, 'exp')
  if (own(claims, 'iss') !== ground.world.server.url || own(claims, 'aud') !== AUDIENCE) return undefined
  if (own(claims, 'email') !== SERVICE_ACCOUNT) return undefined
  if (String(own(claims, 'email_verified')) !== 'true' || Array.isArray(own(claims, 'email_verified')))
    return undefined
  if (typeof exp !== 'number' || exp <= ground.now - 60) return undefined
  const body = lenientJson(request.body)
  if (own(body, 'subscription') !== SUBSCRIPTION) return undefined
  const data = own(own(body, 'message'), 'data')
  const address = own(
    lenientJson(Buffer.from(typeof data === 'string' ? data : '', 'base64')),
    'emailAddress',
  )
  const owner = typeof address === 'string' ? address.toLowerCase() : ''
  return (Object.hasOwn(OWNERS, owner) ? (OWNERS[owner] ?? []) : []).map((n) => `fact of con_${n} sub_${n}`)
}

function signalled(ground: Ground, claims: unknown): readonly string[] | undefined {
  const [iss, aud, iat, jti] = ['iss', 'aud', 'iat', 'jti'].map((name) => own(claims, name))
  if (iss !== ground.world.server.url && iss !== `${ground.world.server.url}/`) return undefined
  if (aud !== 'client-1' && !(Array.isArray(aud) && aud.includes('client-1'))) return undefined
  if (Number(iat) < ground.now - 60 * 24 * 3600 || typeof jti !== 'string' || jti === '') return undefined
  const events = own(claims, 'events')
  if (typeof events !== 'object' || events === null) return []
  return Object.entries(events).flatMap(([type, event]) => {
    if (!type.startsWith(RISC) && !type.startsWith(OAUTH)) return []
    const sub = own(own(event, 'subject'), 'sub')
    if (typeof sub === 'string') return [`signal ${jti} ${type} of ${sub}`]
    return type === `${RISC}verification` ? [`signal ${jti} ${type} of undefined`] : []
  })
}

export async function gmailPushes(): Promise<Verifier> {
  const ground = await startGround()
  const { now, world } = ground
  const claims = JSON.stringify({
    ...{ aud: AUDIENCE, azp: '1137', email: SERVICE_ACCOUNT, email_verified: true },
    ...{ exp: now + 3600, iat: now, iss: world.server.url, sub: '1137' },
  })
  const bearer = ground.sign(claims, false)
  const message = { messageId: '2070443601311540', publishTime: '2026-09-20T09:59:58.749Z' }
  const bodies = [
    ['{"emailAddress":"User@example.com","historyId":18446744073709551615}', message],
    [
      '{"emailAddress":"other@example.com","historyId":"77"}',
      { message_id: '7', publish_time: message.publishTime },
    ],
    ['{"emailAddress":"nobody@example.com","historyId":5}', message],
  ].map(([data, more]) =>
    JSON.stringify({
      message: { data: Buffer.from(String(data)).toString('base64'), ...Object(more) },
      subscription: SUBSCRIPTION,
    }),
  )
  const other = ground.sign(JSON.stringify({ ...JSON.parse(claims), aud: 'client-1' }), false)
  return {
    name: 'Gmail pushes',
    strangers: {
      values: [
        ...COMMON_VALUES,
        JSON.stringify(world.server.url),
        String(now),
        String(now - 7200),
        String(now + 7200),
      ],
      refs: ['sub_1'],
      headerValues: [`Bearer ${other}`, `Bearer ${ground.sign(claims, true)}`, `bearer ${bearer}`, bearer],
    },
    make({ pick, claims: changes, forged }) {
      const changed = forged || changes.length > 0 ? ground.sign(mutateJson(claims, changes), forged) : bearer
      const body = Buffer.from(bodies[pick % bodies.length] ?? '')
      return notification({ headers: { authorization: [`Bearer ${changed}`] }, body })
    },
    judge: ground.judge,
    mayBelieve: (request) => mayBelieve(ground, request),
    close: () => world.close(),
  }
}

export async function securityEvents(): Promise<Verifier> {
  const ground = await startGround()
  const { now, world } = ground
  const subject = { subject_type: 'iss-sub', iss: world.server.url, sub: '110169484474386276334' }
  const tokens = [
    { [`${RISC}sessions-revoked`]: { subject } },
    {
      [`${OAUTH}tokens-revoked`]: { subject },
      [`${RISC}account-disabled`]: { subject, reason: 'hijacking' },
    },
    { [`${RISC}verification`]: { state: 'hello' } },
  ].map((events, n) =>
    JSON.stringify({
      iss: `${world.server.url}/`,
      aud: n === 1 ? ['client-1'] : 'client-1',
      iat: now,
      jti: `jti-${n}`,
      events,
    }),
  )
  const signed = tokens.map((claims) => ground.sign(claims, false))
  return {
    name: 'security events',
    strangers: {
      values: [...COMMON_VALUES, JSON.stringify(world.server.url), String(now), String(now - 61 * 24 * 3600)],
      refs: ['sub_1'],
      headerValues: signed.map((token) => `Bearer ${token}`),
    },
    make({ pick, claims: changes, forged }) {
      const claims = tokens[pick % tokens.length] ?? ''
      const fresh = forged || changes.length > 0
      const token = fresh
        ? ground.sign(mutateJson(claims, changes), forged)
        : (signed[pick % signed.length] ?? '')
      return notification({
        headers: { 'content-type': ['application/secevent+jwt'] },
        body: Buffer.from(token),
      })
    },
    judge: ground.judge,
    mayBelieve: (request) => mayBelieve(ground, request),
    close: () => world.close(),
  }
}

const COMMON_VALUES = [
  ...[
    AUDIENCE,
    'client-1',
    SERVICE_ACCOUNT,
    SUBSCRIPTION,
    'user@example.com',
    'projects/p/subscriptions/other',
  ],
  ...['evil@project.iam.gserviceaccount.com', 'https://evil.example', `${RISC}account-disabled`, 'true'],
].map((text) => JSON.stringify(text))
