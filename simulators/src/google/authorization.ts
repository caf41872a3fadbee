/**
 * Judges a Google authorization request and turns a person's decision into the callback
 * (protocols/google.md §1.2, §1.3). Most errors end on Google's own page and never reach the callback.
 */
import { type GoogleAccount, googleAccounts } from '../accounts.ts'
import { type Challenge, readChallenge } from '../codes.ts'
import type { Authorization, Decision } from '../provider.ts'
import { readParameters } from '../server.ts'
import { canonicalScope, isIdentityScope, isKnownScope, readScopes, spellScopes } from './scopes.ts'
import { findGoogleAccount, type GoogleWorld } from './world.ts'

export interface AuthorizationRequest {
  redirectUri: string
  state: string | undefined
  scopes: string[]
  nonce: string | null
  challenge: Challenge | null
  offline: boolean
  prompts: string[]
  includeGranted: boolean
  hinted: GoogleAccount | undefined
}

export type RequestReading =
  | { kind: 'request'; request: AuthorizationRequest }
  | { kind: 'answered'; authorization: Authorization }

export function readAuthorizationRequest(world: GoogleWorld, query: string): RequestReading {
  const parameters = readParameters(query)
  if (parameters.kind === 'repeated')
    return deadEnd(world, 400, 'invalid_request', 'A parameter occurs twice.')
  const { get } = parameters
  if (get('client_id') !== world.options.clientId) {
    return deadEnd(world, 401, 'invalid_client', 'The OAuth client was not found.')
  }
  const redirectUri = get('redirect_uri')
  if (redirectUri === undefined || !world.options.redirectUris.includes(redirectUri)) {
    const detail = 'The redirect URI in the request does not match one of the registered ones.'
    return deadEnd(world, 400, 'redirect_uri_mismatch', detail)
  }
  if (get('response_type') !== 'code') {
    return deadEnd(world, 400, 'invalid_request', 'Required parameter is missing or wrong: response_type')
  }
  const scopes = readScopes(get('scope'))
  if (scopes.length === 0) return deadEnd(world, 400, 'invalid_request', 'Missing required parameter: scope')
  if (!scopes.every(isKnownScope))
    return deadEnd(world, 400, 'invalid_scope', 'Some requested scopes were invalid.')
  const challenge = readChallenge(get('code_challenge'), get('code_challenge_method'))
  if (challenge === 'malformed') return deadEnd(world, 400, 'invalid_request', 'Wrong code_challenge.')
  const accessType = get('access_type') ?? 'online'
  if (accessType !== 'online' && accessType !== 'offline') {
    return deadEnd(world, 400, 'invalid_request', 'Wrong access_type.')
  }
  const prompts = (get('prompt') ?? '').split(' ').filter((prompt) => prompt !== '')
  const wrongPrompt = prompts.some((prompt) => !['none', 'consent', 'select_account'].includes(prompt))
  if (wrongPrompt || (prompts.includes('none') && prompts.length > 1)) {
    return deadEnd(world, 400, 'invalid_request', 'Wrong prompt.')
  }
  const hint = get('login_hint')
  const request = {
    redirectUri,
    state: get('state'),
    scopes,
    nonce: get('nonce') ?? null,
    challenge,
    offline: accessType === 'offline',
    prompts,
    includeGranted: get('include_granted_scopes') === 'true',
    hinted: hint === undefined ? undefined : findGoogleAccount(hint),
  }
  if (prompts.includes('none')) return { kind: 'answered', authorization: decideSilently(world, request) }
  return { kind: 'request', request }
}

/** Consent is shown the first time, when more is asked than was granted, and with `prompt=consent`. */
export function needsConsent(world: GoogleWorld, request: AuthorizationRequest, account: string): boolean {
  if (request.prompts.includes('consent')) return true
  const granted = world.grants.get(account) ?? new Set()
  return !request.scopes.every((scope) => granted.has(scope))
}

/** The account that Google takes without asking: hinted, and nothing to consent to. */
export function returningAccount(world: GoogleWorld, request: AuthorizationRequest): string | null {
  const { hinted } = request
  if (hinted === undefined || request.prompts.includes('select_account')) return null
  return needsConsent(world, request, hinted.email) ? null : hinted.email
}

/** What the browser is sent back with once the person has decided. */
export function decide(world: GoogleWorld, request: AuthorizationRequest, decision: Decision): Authorization {
  const account = findGoogleAccount(decision.account)
  if (account === undefined)
    return deadEnd(world, 403, 'access_denied', 'There is no such account.').authorization
  const allowed = decision.scopes ?? world.faults.grantScopes
  const names = allowed === null ? null : allowed.map(canonicalScope)
  const granted = request.scopes.filter(
    (scope) => names === null || isIdentityScope(scope) || names.includes(scope),
  )
  return conclude(world, request, account, decision.deny ? [] : granted)
}

/** The decision of the page, where also `email` and `profile` can be left out. */
export function decideOnPage(
  world: GoogleWorld,
  request: AuthorizationRequest,
  email: string,
  ticked: readonly string[],
): Authorization {
  const account = findGoogleAccount(email)
  if (account === undefined)
    return deadEnd(world, 403, 'access_denied', 'There is no such account.').authorization
  const choosable = request.scopes.filter((scope) => scope !== 'openid')
  const granted = choosable.filter((scope) => ticked.includes(scope))
  const none = granted.length === 0 && choosable.length > 0
  const faulted = world.faults.grantScopes?.map(canonicalScope)
  const left = granted.filter(
    (scope) => faulted === undefined || isIdentityScope(scope) || faulted.includes(scope),
  )
  return conclude(
    world,
    request,
    account,
    none ? [] : request.scopes.filter((s) => s === 'openid' || left.includes(s)),
  )
}

/** Nothing granted is a denial; anything granted is a code with the list of it. */
function conclude(
  world: GoogleWorld,
  request: AuthorizationRequest,
  account: GoogleAccount,
  granted: string[],
): Authorization {
  if (granted.length === 0 || world.faults.denyConsent) {
    world.journal.authorizations.denied += 1
    return respond(world, request, [['error', 'access_denied']])
  }
  const shown = needsConsent(world, request, account.email)
  const before = world.grants.get(account.email) ?? new Set()
  const scopes = spellScopes(request.includeGranted ? [...before, ...granted] : granted)
  world.grants.set(account.email, new Set([...before, ...scopes]))
  world.journal.authorizations.approved += 1
  const code = world.codes.issue({
    account: account.email,
    clientId: world.options.clientId,
    redirectUri: request.redirectUri,
    tenant: '',
    scopes,
    nonce: request.nonce,
    challenge: request.challenge,
    offline: request.offline && shown,
  })
  return respond(world, request, [
    ['code', code],
    ['scope', scopes.join(' ')],
    ['authuser', String(googleAccounts.indexOf(account))],
    ['hd', account.hd],
    ['prompt', shown ? 'consent' : 'none'],
  ])
}

function decideSilently(world: GoogleWorld, request: AuthorizationRequest): Authorization {
  if (request.hinted === undefined) return respond(world, request, [['error', 'login_required']])
  if (needsConsent(world, request, request.hinted.email)) {
    return respond(world, request, [['error', 'interaction_required']])
  }
  return conclude(world, request, request.hinted, request.scopes)
}

/** In the order of the captures: state, iss, then the rest. */
function respond(world: GoogleWorld, request: AuthorizationRequest, rest: [string, string][]): Authorization {
  const fields: [string, string][] = []
  if (request.state !== undefined) fields.push(['state', request.state])
  if (world.faults.issMode === 'on') fields.push(['iss', world.origin])
  if (world.faults.issMode === 'wrong') fields.push(['iss', 'https://issuer.invalid'])
  fields.push(...rest)
  const url = new URL(request.redirectUri)
  const encoded = new URLSearchParams(fields).toString()
  url.search = url.search === '' ? encoded : `${url.search}&${encoded}`
  return { kind: 'callback', callback: { method: 'GET', url: url.href }, fields: [] }
}

function deadEnd(world: GoogleWorld, status: number, error: string, detail: string) {
  world.journal.authorizations.deadEnds += 1
  const title = 'Access blocked: authorization error'
  const authorization: Authorization = {
    kind: 'dead_end',
    status,
    title,
    detail: `Error ${status}: ${error}. ${detail}`,
  }
  return { kind: 'answered' as const, authorization }
}
