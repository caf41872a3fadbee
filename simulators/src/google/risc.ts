/**
 * Google's security events (protocols/google.md §1.9): the configuration document, and signed event tokens posted
 * as the bare body, without `exp`, repeated a limited number of times. It offers no stream management.
 */
import { createHash, randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { spoiltBy } from '../keys.ts'
import { isLoopbackUrl } from '../options.ts'
import type { Parcel } from '../postman.ts'
import type { PushOutcome } from '../provider.ts'
import { revokeProject } from './token.ts'
import { findGoogleAccount, type GoogleWorld } from './world.ts'

const risc = 'https://schemas.openid.net/secevent/risc/event-type/'
const oauth = 'https://schemas.openid.net/secevent/oauth/event-type/'

export const securityEvents: Record<string, string> = {
  'sessions-revoked': `${risc}sessions-revoked`,
  'tokens-revoked': `${oauth}tokens-revoked`,
  'token-revoked': `${oauth}token-revoked`,
  'account-disabled': `${risc}account-disabled`,
  'account-enabled': `${risc}account-enabled`,
  'account-credential-change-required': `${risc}account-credential-change-required`,
  verification: `${risc}verification`,
}
export const securityForgeries = ['audience', 'issuer', 'key', 'kid', 'algNone', 'HS256']

/** "Limited retries" is all the page says: five attempts here, none after a refusal of the token itself. */
const mostAttempts = 5

export function serveRiscConfiguration(server: FastifyInstance, world: GoogleWorld): void {
  server.get('/.well-known/risc-configuration', async (_request, reply) =>
    reply.header('cache-control', 'public, max-age=3600').send({
      issuer: world.origin,
      jwks_uri: `${world.origin}/oauth2/v3/certs`,
      delivery_methods_supported: ['http://schemas.openid.net/secevent/risc/delivery-method/push'],
      configuration_endpoint: `${world.origin}/v1beta/v1beta/stream`,
      status_endpoint: `${world.origin}/v1beta/v1beta/stream/status`,
      verification_endpoint: `${world.origin}/v1beta/v1beta/stream:verify`,
    }),
  )
}

/**
 * @param order `event`, and of `reason`, `state`, `subject` (`iss-sub`, `id_token_claims`), `issuer` (`slash`,
 * `plain`), `identifier` (`prefix`, `hash`), `refreshToken`, `forge`, `repeat`, `apply`, `url` what is wanted
 */
export async function sendSecurityEvent(
  world: GoogleWorld,
  account: string,
  order: Record<string, unknown>,
): Promise<PushOutcome> {
  const { event, forge = null, repeat = 1, apply = false, url = world.options.pubsub.pushUrl } = order
  const type = typeof event === 'string' ? securityEvents[event] : undefined
  if (type === undefined) return refused(`event must be of ${Object.keys(securityEvents).join(', ')}`)
  if (forge !== null && !securityForgeries.includes(String(forge))) {
    return refused(`forge must be of ${securityForgeries.join(', ')}`)
  }
  if (typeof repeat !== 'number' || !(repeat >= 1 && repeat <= 100)) return refused('repeat must be 1 to 100')
  if (typeof url !== 'string' || !isLoopbackUrl(url)) return refused('url must be a loopback URL')
  const content = eventContent(world, account, String(event), order)
  if (content === null) return refused('no refresh token of this account')
  const { clientId } = world.options
  const claims = {
    iss: forge === 'issuer' ? 'https://issuer.invalid/' : issuerOf(world, order),
    aud: forge === 'audience' ? 'another-client.apps.googleusercontent.test' : clientId,
    iat: Math.floor(world.now() / 1000),
    jti: randomUUID(),
    events: { [type]: content },
  }
  if (apply === true) revokeProject(world, account)
  const token = await world.keys.sign(claims, null, spoiltBy(forge === null ? null : String(forge)))
  world.issuer.note('google', 'security_event', token)
  const parcel = securityParcel(url, token, forge === null)
  const copies = Array.from({ length: repeat }, () => world.postman.deliver(parcel))
  return { kind: 'sent', pushes: await Promise.all(copies) }
}

function securityParcel(url: string, token: string, genuine: boolean): Parcel {
  return {
    url,
    body: token,
    headers: async () => ({
      'content-type': 'application/secevent+jwt',
      accept: 'application/json',
      'user-agent': 'Google-RISC',
    }),
    timeoutMs: () => 10_000,
    acknowledges: (status) => status >= 200 && status < 300,
    repeats: (status, attempt) => genuine && attempt < mostAttempts && (status === null || status >= 429),
  }
}

/** The sample of the page has a slash at the end, the configuration document has none. */
function issuerOf(world: GoogleWorld, order: Record<string, unknown>): string {
  return order.issuer === 'plain' ? world.origin : `${world.origin}/`
}

function eventContent(
  world: GoogleWorld,
  account: string,
  event: string,
  order: Record<string, unknown>,
): Record<string, unknown> | null {
  if (event === 'verification') return { state: typeof order.state === 'string' ? order.state : 'test' }
  if (event === 'token-revoked') {
    const given = typeof order.refreshToken === 'string' ? order.refreshToken : undefined
    const token = given ?? world.tokens.newestRefresh(account)?.value
    return token === undefined ? null : { subject: tokenSubject(token, order.identifier === 'hash') }
  }
  const person = findGoogleAccount(account)
  const identity = { iss: issuerOf(world, order), sub: person?.sub }
  const subject =
    order.subject === 'id_token_claims'
      ? { subject_type: 'id_token_claims', ...identity, email: account }
      : { subject_type: 'iss-sub', ...identity }
  if (event !== 'account-disabled') return { subject }
  return { subject, reason: typeof order.reason === 'string' ? order.reason : 'hijacking' }
}

/** Named by its first 16 characters or by its doubled SHA-512; the token itself is not told. */
function tokenSubject(token: string, hashed: boolean): Record<string, unknown> {
  const twice = createHash('sha512').update(createHash('sha512').update(token).digest()).digest('base64')
  return {
    subject_type: 'oauth_token',
    token_type: 'refresh_token',
    token_identifier_alg: hashed ? 'hash_base64_sha512_sha512' : 'prefix',
    token: hashed ? twice : token.slice(0, 16),
  }
}

function refused(reason: string): PushOutcome {
  return { kind: 'refused', reason }
}
