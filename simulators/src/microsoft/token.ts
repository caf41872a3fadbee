/**
 * Entra's token endpoint: codes and refresh tokens for tokens (protocols/microsoft.md §1.4, §1.5). A refresh
 * token is replaced with each use and the old one stays good; an error never repeats what was sent.
 */
import { randomInt, randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { checkProof, sameText } from '../codes.ts'
import type { MintedTokens } from '../provider.ts'
import { type Credentials, formBody, readCredentials, readParameters } from '../server.ts'
import { interceptToken, sendOrLose } from '../token-faults.ts'
import { addConsent, adminRefusal, consentCovers, consentedScopes } from './consent.ts'
import { microsoftRowAnswer } from './failure-rows.ts'
import { createIdToken } from './id-token.ts'
import { includesScope, keepScopes, openidScopes, readScopes, spellScopes } from './scopes.ts'
import { failures, type StsFailure, stsErrorBody } from './sts-error.ts'
import { findMicrosoftAccount, findTenant, type MicrosoftWorld, type Tenant } from './world.ts'

const refreshLifetimeMs = 90 * 86_400_000
type Get = (name: string) => string | undefined

/** What a valid grant allows, before tokens are made of it. */
interface Allowed {
  account: string
  scopes: readonly string[]
  /** The scopes that a next refresh may ask for again. */
  consented: readonly string[]
  nonce: string | null
  /** Of the refresh token that was redeemed; else a new one. */
  grant: string
}

type GrantVerdict = { kind: 'allowed'; allowed: Allowed } | { kind: 'refused'; failure: StsFailure }

export function serveToken(server: FastifyInstance, world: MicrosoftWorld): void {
  server.post<{ Params: { tenant: string } }>('/:tenant/oauth2/v2.0/token', async (request, reply) => {
    const parameters = readParameters(formBody(request))
    const get: Get = parameters.kind === 'read' ? parameters.get : () => undefined
    const row = (name: string) => microsoftRowAnswer(name, world.now())
    if (await interceptToken(world, request, reply, get, row)) return reply
    const grantType = get('grant_type')
    const tenant = findTenant(request.params.tenant)
    if (tenant === null) return refuse(reply, world, failures.unknownTenant(request.params.tenant))
    if (parameters.kind === 'repeated') return refuse(reply, world, failures.malformed)
    const failure = checkClient(world, readCredentials(request, get))
    if (failure !== null) return refuse(reply, world, failure)
    if (grantType === undefined) return refuse(reply, world, failures.missing('grant_type'))
    if (grantType !== 'authorization_code' && grantType !== 'refresh_token')
      return refuse(reply, world, failures.unsupportedGrant)
    const verdict =
      grantType === 'refresh_token' ? refreshGrant(world, tenant, get) : codeGrant(world, tenant, get)
    if (verdict.kind === 'refused') return refuse(reply, world, verdict.failure)
    const body = await tokensFor(world, verdict.allowed, get('client_info') === '1')
    return sendOrLose(world, 'tokenLost', request, withHeaders(reply, randomUUID()), body)
  })
}

/** Tokens as after a consent to these scopes, for tests that need many. */
export function mint(
  world: MicrosoftWorld,
  account: string,
  asked: readonly string[],
  count: number,
): MintedTokens[] {
  const reading = readScopes([...asked, 'offline_access'].join(' '), world.origin)
  const scopes = reading.kind === 'read' ? reading.scopes : []
  addConsent(world, account, scopes)
  const expiresIn = world.faults.expiresIn ?? 3_599
  return Array.from({ length: count }, () => {
    const grant = randomUUID()
    return {
      access_token: world.tokens.addAccess(account, scopes, expiresIn * 1000, grant).value,
      refresh_token: world.tokens.addRefresh(account, scopes, refreshLifetimeMs, grant).value,
      expires_in: expiresIn,
      scope: spellScopes(scopes, world.faults.scopeSpelling),
    }
  })
}

function checkClient(world: MicrosoftWorld, sent: Credentials): StsFailure | null {
  if (sent.clientId === undefined) return failures.missing('client_id')
  if (sent.clientId !== world.options.clientId) return failures.unknownApplication
  if (sent.clientSecret === undefined) return failures.noCredential
  return sameText(sent.clientSecret, world.options.clientSecret) ? null : failures.wrongSecret
}

function codeGrant(world: MicrosoftWorld, tenant: Tenant, get: Get): GrantVerdict {
  const code = get('code')
  if (code === undefined) return refused(failures.missing('code'))
  const found = world.codes.find(code)
  if (found.kind === 'unknown') return refused(failures.badGrant)
  if (found.kind === 'expired') return refused(failures.expiredGrant)
  if (found.kind !== 'live') return refused(failures.redeemedCode)
  const { grant } = found
  if (get('redirect_uri') === undefined) return refused(failures.missing('redirect_uri'))
  if (get('redirect_uri') !== grant.redirectUri) return refused(failures.redirectMismatch)
  if (tenant.segment !== grant.tenant) return refused(failures.wrongTenant)
  if (checkProof(grant.challenge, get('code_verifier')) !== 'proven') return refused(failures.wrongProof)
  const narrowed = narrow(world, grant.scopes, get('scope'))
  if (narrowed.kind === 'refused') return narrowed
  const refusal = adminRefusal(world, grant.account, narrowed.scopes, 'token')
  if (refusal !== null) return refused(refusal)
  found.redeem()
  const { account, nonce, scopes: consented } = grant
  const { scopes } = narrowed
  return { kind: 'allowed', allowed: { account, scopes, consented, nonce, grant: randomUUID() } }
}

function refreshGrant(world: MicrosoftWorld, tenant: Tenant, get: Get): GrantVerdict {
  const value = get('refresh_token')
  if (value === undefined) return refused(failures.missing('refresh_token'))
  const found = world.tokens.findRefresh(value)
  if (found.kind === 'unknown' || found.kind === 'spent') return refused(failures.badGrant)
  if (found.kind === 'revoked') return refused(failures.revokedGrant(found.token.issuedAt, world.now()))
  if (found.kind === 'expired') return refused(failures.inactiveGrant)
  const { account, grant, scopes: consented } = found.token
  const person = findMicrosoftAccount(account)
  if (person === undefined || !tenant.admits(person)) return refused(failures.foreignUser)
  const narrowed = narrow(world, consented, get('scope'))
  if (narrowed.kind === 'refused') return narrowed
  if (!consentCovers(world, account, narrowed.scopes)) return refused(failures.notConsented)
  const refusal = adminRefusal(world, account, narrowed.scopes, 'token')
  if (refusal !== null) return refused(refusal)
  if (world.faults.strictRotation) world.tokens.spend(value)
  const scopes = keepScopes(narrowed.scopes, world.faults.refreshScopes, world.origin)
  return { kind: 'allowed', allowed: { account, scopes, consented, nonce: null, grant } }
}

type Narrowing = { kind: 'narrowed'; scopes: readonly string[] } | { kind: 'refused'; failure: StsFailure }

/** `scope` of a token request: equal to or less than what was consented to, of one resource. */
function narrow(world: MicrosoftWorld, consented: readonly string[], asked: string | undefined): Narrowing {
  const reading = readScopes(asked, world.origin)
  if (reading.kind === 'default_mixed') return refused(failures.mixedDefault)
  if (reading.kind === 'empty') return { kind: 'narrowed', scopes: consented }
  if (reading.resources.length > 1) return refused(failures.severalResources)
  const wanted = reading.scopes.filter((scope) => scope !== '.default')
  if (!wanted.every((scope) => includesScope(consented, scope) || isFree(scope)))
    return refused(failures.notConsented)
  const all = wanted.length < reading.scopes.length ? [...consented, ...wanted] : wanted
  return { kind: 'narrowed', scopes: [...new Set(all)].filter((scope) => includesScope(consented, scope)) }
}

/** OpenID scopes that were not consented to are ignored, not refused. */
function isFree(scope: string): boolean {
  return openidScopes.includes(scope.toLowerCase())
}

async function tokensFor(world: MicrosoftWorld, allowed: Allowed, clientInfo: boolean): Promise<unknown> {
  const { account: email, consented, grant } = allowed
  const union = world.faults.scopeUnion ? consentedScopes(world, email) : []
  const scopes = [...new Set([...allowed.scopes, ...union])]
  const account = findMicrosoftAccount(email)
  if (account === undefined) throw Object.assign(new Error('grant without account'), { code: 'no_account' })
  const expiresIn = world.faults.expiresIn ?? randomInt(3600, 5400)
  const access = world.tokens.addAccess(email, scopes, expiresIn * 1000, grant)
  const offline = includesScope(scopes, 'offline_access') && !world.faults.noRefreshToken
  const identity = { uid: account.oid, utid: account.tid }
  return {
    token_type: 'Bearer',
    scope: spellScopes(scopes, world.faults.scopeSpelling),
    expires_in: expiresIn,
    ext_expires_in: expiresIn,
    access_token: access.value,
    ...(offline
      ? { refresh_token: world.tokens.addRefresh(email, consented, refreshLifetimeMs, grant).value }
      : {}),
    ...(includesScope(scopes, 'openid')
      ? { id_token: await createIdToken(world, account, scopes, allowed.nonce) }
      : {}),
    ...(clientInfo ? { client_info: Buffer.from(JSON.stringify(identity)).toString('base64url') } : {}),
  }
}

function refused(failure: StsFailure): { kind: 'refused'; failure: StsFailure } {
  return { kind: 'refused', failure }
}

function refuse(reply: FastifyReply, world: MicrosoftWorld, failure: StsFailure): FastifyReply {
  const body = stsErrorBody(failure, world.now())
  return withHeaders(reply.code(failure.status), body.trace_id)
    .header('x-ms-clitelem', `1,${failure.code},0,,`)
    .send(body)
}

function withHeaders(reply: FastifyReply, requestId: string): FastifyReply {
  return reply
    .header('cache-control', 'no-store, no-cache')
    .header('pragma', 'no-cache')
    .header('x-ms-request-id', requestId)
    .header('x-ms-ests-server', 'simulator')
}
