/**
 * Google's token and revocation endpoints (protocols/google.md §1.4 to §1.7): no rotation, a refresh token only
 * with offline access and shown consent, revocation for the whole project. Errors never repeat what was sent.
 */
import type { FastifyInstance, FastifyReply } from 'fastify'
import type { GoogleAccount } from '../accounts.ts'
import { checkProof, sameText } from '../codes.ts'
import { takeAnswer } from '../faults.ts'
import type { MintedTokens } from '../provider.ts'
import { formBody, queryOf, readCredentials, readParameters } from '../server.ts'
import { interceptToken, sendOrLose } from '../token-faults.ts'
import { googleRowAnswer } from './failure-rows.ts'
import { canonicalScope, grantsEmail, grantsProfile, isIdentityScope, spellScopes } from './scopes.ts'
import { findGoogleAccount, type GoogleWorld } from './world.ts'

const accessSeconds = 3599
/** The 101st refresh token of an account ends the oldest (protocols/google.md §1.5). */
const longestRefreshList = 100
const unusedRefreshMs = 182 * 86_400_000
type Get = (name: string) => string | undefined
type Refusal = { kind: 'refused'; status: number; error: string; description: string }

interface Allowed {
  kind: 'allowed'
  account: string
  scopes: readonly string[]
  nonce: string | null
  offline: boolean
}

export function serveToken(server: FastifyInstance, world: GoogleWorld): void {
  server.post('/token', async (request, reply) => {
    const parameters = readParameters(formBody(request))
    const get: Get = parameters.kind === 'read' ? parameters.get : () => undefined
    if (await interceptToken(world, request, reply, get, googleRowAnswer)) return reply

    if (parameters.kind === 'repeated') return refuse(reply, refused(400, 'invalid_request', 'Bad Request'))
    const client = readCredentials(request, get)
    if (client.clientId !== world.options.clientId) {
      return refuse(reply, refused(401, 'invalid_client', 'The OAuth client was not found.'))
    }
    if (client.clientSecret === undefined || !sameText(client.clientSecret, world.options.clientSecret)) {
      return refuse(reply, refused(401, 'invalid_client', 'Unauthorized'))
    }
    const grantType = get('grant_type')
    if (grantType !== 'authorization_code' && grantType !== 'refresh_token') {
      return refuse(reply, refused(400, 'unsupported_grant_type', 'Invalid grant_type'))
    }
    const verdict = grantType === 'refresh_token' ? refreshGrant(world, get) : codeGrant(world, get)
    if (verdict.kind === 'refused') return refuse(reply, verdict)
    const body = await tokensFor(world, verdict)
    return sendOrLose(world, 'tokenLost', request, noStore(reply), body)
  })

  server.post('/revoke', async (request, reply) => {
    world.journal.revocations += 1
    const fixed = takeAnswer(world.faults, 'revokeError')
    if (fixed !== null) return reply.code(fixed.status).headers(fixed.headers).send(fixed.body)
    const inQuery = new URLSearchParams(queryOf(request)).get('token')
    const token = new URLSearchParams(formBody(request)).get('token') ?? inQuery
    if (!token) return refuse(reply, refused(400, 'invalid_request', 'Missing required parameter: token'))
    const candidates = [world.tokens.findRefresh(token), world.tokens.findAccess(token)]
    const live = candidates.find((candidate) => candidate.kind === 'live')
    if (live === undefined || live.kind === 'unknown') {
      return refuse(reply, refused(400, 'invalid_token', 'Token expired or revoked'))
    }
    revokeProject(world, live.token.account)
    return sendOrLose(world, 'revokeLost', request, reply, {})
  })
}

/** All scopes granted to the project, all tokens of all its clients (protocols/google.md §1.7). */
export function revokeProject(world: GoogleWorld, account: string): void {
  world.tokens.revokeAccount(account)
  world.grants.delete(account)
}

/** Tokens as after a consent to these scopes, for tests that need many; the limit of 100 is not applied. */
export function mint(
  world: GoogleWorld,
  account: string,
  asked: readonly string[],
  count: number,
): MintedTokens[] {
  const scopes = spellScopes(asked.map(canonicalScope))
  world.grants.set(account, new Set([...(world.grants.get(account) ?? []), ...scopes]))
  const expiresIn = world.faults.expiresIn ?? accessSeconds
  return Array.from({ length: count }, () => ({
    access_token: world.tokens.addAccess(account, scopes, expiresIn * 1000).value,
    refresh_token: world.tokens.addRefresh(account, scopes, unusedRefreshMs).value,
    expires_in: expiresIn,
    scope: scopes.join(' '),
  }))
}

function codeGrant(world: GoogleWorld, get: Get): Allowed | Refusal {
  const code = get('code')
  if (code === undefined) return refused(400, 'invalid_request', 'Missing required parameter: code')
  const found = world.codes.find(code)
  if (found.kind !== 'live') return refused(400, 'invalid_grant', 'Bad Request')
  if (get('redirect_uri') !== found.grant.redirectUri)
    return refused(400, 'redirect_uri_mismatch', 'Bad Request')
  const proof = checkProof(found.grant.challenge, get('code_verifier'))
  if (proof === 'missing') return refused(400, 'invalid_grant', 'Missing code verifier.')
  if (proof !== 'proven') return refused(400, 'invalid_grant', 'Invalid code verifier.')
  found.redeem()
  const { account, scopes, nonce, offline } = found.grant
  return { kind: 'allowed', account, scopes, nonce, offline }
}

function refreshGrant(world: GoogleWorld, get: Get): Allowed | Refusal {
  const value = get('refresh_token')
  if (value === undefined) return refused(400, 'invalid_request', 'Missing required parameter: refresh_token')
  const found = world.tokens.findRefresh(value)
  if (found.kind === 'unknown') return refused(400, 'invalid_grant', 'Bad Request')
  if (found.kind !== 'live') return refused(400, 'invalid_grant', 'Token has been expired or revoked.')
  const { account } = found.token
  const left = world.faults.refreshScopes?.map(canonicalScope)
  const scopes = found.token.scopes.filter(
    (scope) => left === undefined || isIdentityScope(scope) || left.includes(scope),
  )
  return { kind: 'allowed', account, scopes, nonce: null, offline: false }
}

async function tokensFor(world: GoogleWorld, allowed: Allowed): Promise<Record<string, unknown>> {
  const { account: email, scopes } = allowed
  const account = findGoogleAccount(email)
  if (account === undefined) throw Object.assign(new Error('grant without account'), { code: 'no_account' })
  const expiresIn = world.faults.expiresIn ?? accessSeconds
  const body: Record<string, unknown> = {
    access_token: world.tokens.addAccess(email, scopes, expiresIn * 1000).value,
    expires_in: expiresIn,
    scope: scopes.join(' '),
    token_type: 'Bearer',
  }
  if (allowed.offline && !world.faults.noRefreshToken) {
    const testing = world.faults.refreshTokenExpiresIn
    const lifetimeMs = testing === null ? unusedRefreshMs : testing * 1000
    body.refresh_token = world.tokens.addRefresh(email, scopes, lifetimeMs).value
    if (testing !== null) body.refresh_token_expires_in = testing
    world.tokens.evictOldest(email, longestRefreshList)
  }
  if (scopes.includes('openid')) body.id_token = await createIdToken(world, account, scopes, allowed.nonce)
  return body
}

async function createIdToken(
  world: GoogleWorld,
  account: GoogleAccount,
  scopes: readonly string[],
  nonce: string | null,
): Promise<string> {
  const { clientId } = world.options
  const seconds = Math.floor(world.now() / 1000)
  const overrides = world.faults.idToken ?? {}
  const [givenName, familyName] = account.name.split(' ')
  const sentNonce = overrides.nonce === undefined ? nonce : overrides.nonce
  const claims = {
    iss: overrides.iss ?? world.origin,
    azp: clientId,
    aud: overrides.aud ?? clientId,
    sub: overrides.sub ?? account.sub,
    hd: account.hd,
    ...(grantsEmail(scopes) ? { email: account.email, email_verified: true } : {}),
    ...(grantsProfile(scopes) ? { name: account.name, given_name: givenName, family_name: familyName } : {}),
    ...(sentNonce === null ? {} : { nonce: sentNonce }),
    iat: seconds,
    exp: seconds + (overrides.exp ?? 3600),
  }
  const token = await world.keys.sign(claims, null, overrides)
  world.issuer.note('google', 'id_token', token)
  return token
}

function refused(status: number, error: string, description: string): Refusal {
  return { kind: 'refused', status, error, description }
}

function refuse(reply: FastifyReply, refusal: Refusal): FastifyReply {
  return noStore(reply)
    .code(refusal.status)
    .send({ error: refusal.error, error_description: refusal.description })
}

function noStore(reply: FastifyReply): FastifyReply {
  return reply
    .header('cache-control', 'no-cache, no-store, max-age=0, must-revalidate')
    .header('pragma', 'no-cache')
}
