/**
 * Judges an Entra authorization request and turns a person's decision into the callback
 * (protocols/microsoft.md §1.2). Nothing is sent to a redirect URI that is not registered exactly.
 */
import { randomUUID } from 'node:crypto'
import { type MicrosoftAccount, microsoftAccounts } from '../accounts.ts'
import { type Challenge, readChallenge } from '../codes.ts'
import type { Authorization, Callback, Decision } from '../provider.ts'
import { readParameters } from '../server.ts'
import { addConsent, adminRefusal, consentCovers } from './consent.ts'
import { includesScope, keepScopes, readScopes } from './scopes.ts'
import { failures, type StsFailure, stsErrorBody } from './sts-error.ts'
import { findMicrosoftAccount, findTenant, type MicrosoftWorld, type Tenant } from './world.ts'

type ResponseMode = 'query' | 'fragment' | 'form_post'

interface Destination {
  redirectUri: string
  responseMode: ResponseMode
  state: string | undefined
}

export interface AuthorizationRequest extends Destination {
  tenant: Tenant
  clientId: string
  scopes: string[]
  nonce: string | null
  challenge: Challenge | null
  prompt: string | undefined
  hinted: MicrosoftAccount | undefined
}

export type RequestReading =
  | { kind: 'request'; request: AuthorizationRequest }
  | { kind: 'answered'; authorization: Authorization }

export function readAuthorizationRequest(
  world: MicrosoftWorld,
  segment: string,
  query: string,
): RequestReading {
  const tenant = findTenant(segment)
  if (tenant === null) return deadEnd(world, failures.unknownTenant(segment))
  const parameters = readParameters(query)
  if (parameters.kind === 'repeated') return deadEnd(world, failures.malformed)
  const { get } = parameters
  if (get('client_id') !== world.options.clientId) return deadEnd(world, failures.unknownApplication)
  const redirectUri = get('redirect_uri')
  if (redirectUri === undefined || !world.options.redirectUris.includes(redirectUri)) {
    return deadEnd(world, failures.redirectMismatch)
  }
  const mode = get('response_mode') ?? 'query'
  const known = mode === 'query' || mode === 'fragment' || mode === 'form_post'
  const to: Destination = { redirectUri, responseMode: known ? mode : 'query', state: get('state') }
  if (!known) return failed(world, to, failures.malformed)
  if (get('response_type') === undefined) return failed(world, to, failures.missing('response_type'))
  if (get('response_type') !== 'code') return failed(world, to, failures.unsupportedResponse)
  const scopes = readScopes(get('scope'), world.origin)
  if (scopes.kind === 'empty') return failed(world, to, failures.missing('scope'))
  if (scopes.kind === 'default_mixed') return failed(world, to, failures.mixedDefault)
  const challenge = readChallenge(get('code_challenge'), get('code_challenge_method'))
  if (challenge === 'malformed') return failed(world, to, failures.malformed)
  const prompt = get('prompt')
  const prompts = [undefined, 'login', 'none', 'consent', 'select_account']
  if (!prompts.includes(prompt)) return failed(world, to, failures.malformed)
  const hint = get('login_hint')
  if (prompt === 'select_account' && hint !== undefined) return failed(world, to, failures.malformed)
  const hinted = hint === undefined ? undefined : findMicrosoftAccount(hint)
  const request = {
    ...to,
    tenant,
    clientId: world.options.clientId,
    scopes: scopes.scopes,
    nonce: get('nonce') ?? null,
    challenge,
    prompt,
    hinted: hinted && tenant.admits(hinted) ? hinted : undefined,
  }
  if (prompt === 'none') return { kind: 'answered', authorization: decideSilently(world, request) }
  return { kind: 'request', request }
}

/** Accounts that the tenant segment admits, for the page. */
export function accountsFor(request: AuthorizationRequest): MicrosoftAccount[] {
  return microsoftAccounts.filter((account) => request.tenant.admits(account))
}

/** What the browser is sent back with once the person has decided. */
export function decide(
  world: MicrosoftWorld,
  request: AuthorizationRequest,
  decision: Decision,
): Authorization {
  const account = findMicrosoftAccount(decision.account)
  if (account === undefined || !request.tenant.admits(account)) {
    return deadEnd(world, failures.foreignUser).authorization
  }
  if (decision.deny || world.faults.denyConsent) {
    world.journal.authorizations.denied += 1
    return failed(world, request, failures.declined).authorization
  }
  const scopes = keepScopes(request.scopes, decision.scopes ?? world.faults.grantScopes, world.origin)
  const onPage = adminRefusal(world, account.email, scopes, 'page')
  if (onPage !== null) return deadEnd(world, onPage).authorization
  const refusal = adminRefusal(world, account.email, scopes, 'callback')
  if (refusal !== null) return failed(world, request, refusal).authorization
  addConsent(world, account.email, scopes)
  world.journal.authorizations.approved += 1
  const code = world.codes.issue({
    account: account.email,
    clientId: request.clientId,
    redirectUri: request.redirectUri,
    tenant: request.tenant.segment,
    scopes,
    nonce: request.nonce,
    challenge: request.challenge,
    offline: includesScope(scopes, 'offline_access'),
  })
  const fields: [string, string][] = [['code', code]]
  if (request.state !== undefined) fields.push(['state', request.state])
  fields.push(['session_state', randomUUID()])
  return respond(world, request, fields)
}

/** `prompt=none`: only for a hinted account that has consented to everything already. */
function decideSilently(world: MicrosoftWorld, request: AuthorizationRequest): Authorization {
  if (request.hinted === undefined) return failed(world, request, failures.loginRequired).authorization
  if (!consentCovers(world, request.hinted.email, request.scopes))
    return failed(world, request, failures.interactionRequired).authorization
  return decide(world, request, { account: request.hinted.email, scopes: null, deny: false })
}

function failed(world: MicrosoftWorld, to: Destination, failure: StsFailure) {
  const body = stsErrorBody(failure, world.now())
  const fields: [string, string][] = [
    ['error', body.error],
    ['error_description', body.error_description],
    ['error_uri', body.error_uri],
  ]
  if (to.state !== undefined) fields.push(['state', to.state])
  return { kind: 'answered' as const, authorization: respond(world, to, fields) }
}

function deadEnd(world: MicrosoftWorld, failure: StsFailure) {
  world.journal.authorizations.deadEnds += 1
  const authorization: Authorization = {
    kind: 'dead_end',
    status: failure.status,
    title: 'We can not sign you in',
    detail: `AADSTS${failure.code}: ${failure.text}`,
  }
  return { kind: 'answered' as const, authorization }
}

/** Entra sends no `iss` (RFC 9207); the switch can add a right or a wrong one. */
function respond(world: MicrosoftWorld, to: Destination, given: [string, string][]): Authorization {
  const fields = [...given]
  if (world.faults.issMode === 'on') fields.push(['iss', `${world.origin}/{tenantid}/v2.0`])
  if (world.faults.issMode === 'wrong') fields.push(['iss', 'https://issuer.invalid/v2.0'])
  return {
    kind: 'callback',
    callback: callbackOf(to, fields),
    fields: to.responseMode === 'form_post' ? fields : [],
  }
}

function callbackOf(to: Destination, fields: [string, string][]): Callback {
  const encoded = new URLSearchParams(fields).toString()
  if (to.responseMode === 'form_post') {
    const contentType = 'application/x-www-form-urlencoded'
    return { method: 'POST', url: to.redirectUri, contentType, body: encoded }
  }
  const url = new URL(to.redirectUri)
  if (to.responseMode === 'fragment') url.hash = encoded
  else url.search = url.search === '' ? encoded : `${url.search}&${encoded}`
  return { method: 'GET', url: url.href }
}
