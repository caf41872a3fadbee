/**
 * The verifier of Graph's notifications with resource data for the fuzz test. The reading of its own knows which tokens it
 * signed and which contents it encrypted, with which key for which certificate, and computes the rest anew.
 */
import { createDecipheriv, createHmac, createSign, generateKeyPairSync, privateDecrypt } from 'node:crypto'
import { microsoft } from '../../src/microsoft/index.ts'
import type { KnownSubscription, NotificationRequest } from '../../src/provider.ts'
import { openWith } from '../conformance.ts'
import { notification, startClock } from '../loopback.ts'
import { encrypt, lookupOf, PUBLISHER, type TestCertificate } from '../microsoft/rich-ground.ts'
import { startMicrosoft, TENANT_A, TENANT_B } from '../microsoft/world.ts'
import { mutateJson } from './json-mutation.ts'
import { lenientJson, own, type Verifier } from './verifier.ts'

const known = (name: string, tenant: string): KnownSubscription => ({
  id: `sub_${name}`,
  connectionId: `con_${name}`,
  resource: 'me/messages',
  providerSubscriptionId: `graph-${name}`,
  accountKey: `${tenant}:o`,
  tenant,
})
const KNOWN = [known('a', TENANT_A), known('b', TENANT_B)]

interface Ground {
  readonly loginUrl: string
  readonly now: number
  /** Signed text → its signature and claims. */
  readonly signed: Map<string, { readonly signature: Buffer; readonly claims: unknown }>
  /** Data key as sent → the key itself, and for which certificate it was wrapped. */
  readonly wrapped: Map<string, { readonly key: Buffer; readonly certificateId: string }>
}

export async function graphResourceData(): Promise<Verifier> {
  const clock = startClock()
  const world = await startMicrosoft(clock)
  const [right, forger] = [1, 2].map(() => generateKeyPairSync('rsa', { modulusLength: 2048 }))
  if (right === undefined || forger === undefined) throw new Error('no keys')
  world.server.reply('/common/discovery/v2.0/keys', {
    status: 200,
    body: { keys: [{ ...right.publicKey.export({ format: 'jwk' }), kid: 'k1', use: 'sig' }] },
  })
  const [a, b] = [smallCertificate('crt_a'), smallCertificate('crt_b')]
  const ground: Ground = {
    loginUrl: world.server.url,
    now: clock.now.getTime() / 1000,
    signed: new Map(),
    wrapped: new Map(),
  }
  const sign = (claims: string, forged: boolean) => {
    const text = [JSON.stringify({ alg: 'RS256', kid: 'k1', typ: 'JWT' }), claims]
      .map((part) => Buffer.from(part).toString('base64url'))
      .join('.')
    const signature = createSign('RSA-SHA256')
      .update(text)
      .sign((forged ? forger : right).privateKey)
    if (!forged) ground.signed.set(text, { signature, claims: parsed(claims) })
    return `${text}.${signature.toString('base64url')}`
  }
  const content = (certificate: TestCertificate, resource: object, named = certificate.id) => {
    const made = encrypt(certificate, resource)
    const { reading } = certificate
    if (reading.kind !== 'key') throw new Error('no key')
    const key = privateDecrypt({ key: reading.key, oaepHash: 'sha1' }, Buffer.from(made.dataKey, 'base64'))
    ground.wrapped.set(made.dataKey, { key, certificateId: certificate.id })
    return { ...made, encryptionCertificateId: named }
  }

  const { now, loginUrl } = ground
  const times = { aud: 'client-1', iat: now, nbf: now, exp: now + 3600 }
  const claimsA = JSON.stringify({
    ...times,
    iss: `${loginUrl}/${TENANT_A}/v2.0`,
    tid: TENANT_A,
    azp: PUBLISHER,
    ver: '2.0',
  })
  const claimsB = JSON.stringify({
    ...times,
    iss: `https://sts.windows.net/${TENANT_B}/`,
    tid: TENANT_B,
    appid: PUBLISHER,
    ver: '1.0',
  })
  const [tokenA, tokenB] = [sign(claimsA, false), sign(claimsB, false)]
  const contents = {
    a: content(a, { id: 'one', subject: 'of a' }),
    a2: content(a, { id: 'two', subject: 'of a too' }),
    b: content(b, { id: 'three', subject: 'of b' }),
    lost: content(b, { id: 'four' }, 'crt_lost'),
  }
  const item = (name: string, tenant: string, encryptedContent: unknown, more: object = {}) => ({
    subscriptionId: `graph-${name}`,
    clientState: `state-sub_${name}`,
    changeType: 'created',
    tenantId: tenant,
    resourceData: { '@odata.type': '#microsoft.graph.message', id: 'one' },
    encryptedContent,
    ...more,
  })
  const bodies = [
    { value: [item('a', TENANT_A, contents.a)], tokens: [tokenA] },
    { value: [item('a', TENANT_A, contents.a2), item('b', TENANT_B, contents.b)], tokens: [tokenA, tokenB] },
    { value: [item('b', TENANT_B, contents.lost), item('b', TENANT_B, null)], tokens: [tokenB] },
    {
      value: [
        item('a', TENANT_A, undefined, {
          tenantId: undefined,
          organizationId: TENANT_A,
          EncryptedContent: contents.a,
        }),
      ],
      tokens: [tokenB, tokenA],
    },
  ]
  const { webhook } = openWith(microsoft, world.environment, clock)
  const lookup = lookupOf(KNOWN, { sub_a: [a], sub_b: [b] })
  const strangers = [
    ...Object.values(contents),
    ...Object.values(contents).flatMap(({ data, dataKey, dataSignature }) => [data, dataKey, dataSignature]),
    ...[tokenA, tokenB, sign(claimsA, true), 'crt_a', 'crt_b', 'graph-a', 'state-sub_b', TENANT_A, TENANT_B],
    ...[PUBLISHER, loginUrl, `https://sts.windows.net/${TENANT_A}/`, 'client-1', now - 7200, [tokenA], null],
  ].map((value) => JSON.stringify(value))
  return {
    name: 'Graph resource data',
    strangers: { values: strangers, refs: ['ref-sub_b', 'ref-sub_c'], headerValues: [tokenA] },
    make({ pick, claims: changes, forged }) {
      const { value, tokens } = bodies[pick % bodies.length] ?? { value: [], tokens: [] }
      const [first = '', ...rest] = tokens
      const claims = first === tokenA ? claimsA : claimsB
      const changed = forged || changes.length > 0 ? sign(mutateJson(claims, changes), forged) : first
      // a forger signs them all
      const others = forged ? rest.map(() => changed) : rest
      const body = Buffer.from(JSON.stringify({ value, validationTokens: [changed, ...others] }))
      return notification({ ref: 'ref-sub_a', body })
    },
    judge: (request) => webhook.judge(request, lookup),
    mayBelieve: (request) => mayBelieve(ground, request),
    close: () => world.close(),
  }
}

/** Ten thousand times a key of 2,048 bits takes minutes, and proves nothing more. */
function smallCertificate(id: string): TestCertificate {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 1024 })
  return { id, publicKey, thumbprint: '', reading: { kind: 'key', key: privateKey } }
}

function mayBelieve(ground: Ground, request: NotificationRequest): readonly string[] | undefined {
  if (request.method !== 'POST') return undefined
  if (Object.hasOwn(request.headers, 'x-ms-signature') && request.headers['x-ms-signature']?.length !== 0)
    return undefined
  if (!KNOWN.some(({ id }) => request.ref === `ref-${id}`)) return undefined
  const echoed = request.query.filter(([name]) => name === 'validationToken').map(([, value]) => value)
  if (echoed.length > 0) {
    const navigated = request.headers['sec-fetch-mode']?.includes('navigate') ?? false
    const [token = ''] = echoed
    return echoed.length === 1 && !navigated && /^[ -~]+$/.test(token) && !/[<>]/.test(token)
      ? [`handshake ${token}`]
      : undefined
  }
  const body = lenientJson(request.body)
  const [items, tokens] = [own(body, 'value'), own(body, 'validationTokens')]
  const vouched = (Array.isArray(tokens) ? tokens : []).map((token) => tenantOf(ground, token))
  const proven = Array.isArray(items) ? items.flatMap((one) => provenBy(ground, one, vouched)) : []
  return proven.length === 0 ? undefined : proven
}

function provenBy(ground: Ground, one: unknown, vouched: readonly (string | undefined)[]): string[] {
  const owner = KNOWN.find(({ id }) => own(one, 'clientState') === `state-${id}`)
  const named = own(one, 'subscriptionId')
  if (owner === undefined || typeof named !== 'string') return []
  if (named.toLowerCase() !== owner.providerSubscriptionId?.toLowerCase()) return []
  for (const tenant of [own(one, 'tenantId'), own(one, 'organizationId')]) {
    if (tenant === undefined || tenant === null) continue
    if (typeof tenant !== 'string' || tenant.toLowerCase() !== owner.tenant) return []
  }
  const label = `fact of ${owner.connectionId} ${owner.id}`
  const contents = Object.entries(one ?? {}).filter(
    ([name, value]) => name.toLowerCase() === 'encryptedcontent' && value !== null,
  )
  if (contents.length === 0) return [label]
  if (contents.length > 1 || !vouched.includes(owner.tenant)) return []
  return read(ground, owner, label, contents[0]?.[1])
}

/** With its content where that is proven; without, where nobody can read it; not at all where it was changed. */
function read(ground: Ground, owner: KnownSubscription, label: string, content: unknown): string[] {
  const [data, dataKey, signature, certificateId] = [
    'data',
    'dataKey',
    'dataSignature',
    'encryptionCertificateId',
  ].map((name) => own(content, name))
  const made = ground.wrapped.get(String(dataKey))
  const isOurs = certificateId === owner.id.replace('sub_', 'crt_')
  if (made === undefined || !isOurs || made.certificateId !== certificateId) return [label]
  if (typeof data !== 'string') return []
  const bytes = Buffer.from(data, 'base64')
  if (createHmac('sha256', made.key).update(bytes).digest('base64') !== signature) return []
  const decipher = createDecipheriv('aes-256-cbc', made.key, made.key.subarray(0, 16))
  const plain = Buffer.concat([decipher.update(bytes), decipher.final()]).toString()
  return [`${label} with ${JSON.stringify(JSON.parse(plain))}`]
}

/** @returns the tenant for which a token speaks that Graph's publisher had signed for us, in our time */
function tenantOf({ signed, now, loginUrl }: Ground, token: unknown): string | undefined {
  if (typeof token !== 'string') return undefined
  const dot = token.lastIndexOf('.')
  const found = signed.get(token.slice(0, dot))
  // the last letter of base64url has unused bits: the signature is the same, however it is spelt
  if (found === undefined || !Buffer.from(token.slice(dot + 1), 'base64url').equals(found.signature))
    return undefined
  const [tid, iss, aud, azp, appid, exp, iat, nbf] = [
    ...['tid', 'iss', 'aud', 'azp', 'appid', 'exp', 'iat', 'nbf'],
  ].map((name) => own(found.claims, name))
  if (typeof tid !== 'string' || aud !== 'client-1') return undefined
  if (iss !== `${loginUrl}/${tid}/v2.0` && iss !== `https://sts.windows.net/${tid}/`) return undefined
  if ((azp ?? PUBLISHER) !== PUBLISHER || (appid ?? PUBLISHER) !== PUBLISHER) return undefined
  if (azp === undefined && appid === undefined) return undefined
  if (typeof exp !== 'number' || exp <= now - 60 || typeof iat !== 'number' || iat > now + 60)
    return undefined
  return nbf === undefined || (typeof nbf === 'number' && nbf <= now + 60) ? tid.toLowerCase() : undefined
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
