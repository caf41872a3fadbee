/**
 * Entra's admin consent endpoint (protocols/microsoft.md §1.3): an administrator grants scopes for a whole tenant.
 * `common` is refused, and nothing goes to a redirect URI that is not registered exactly.
 */
import type { FastifyInstance, FastifyReply } from 'fastify'
import { type MicrosoftAccount, microsoftAccounts, personalTenant } from '../accounts.ts'
import { sendConsentPage, sendDeadEnd } from '../page.ts'
import type { Authorization, Decision } from '../provider.ts'
import { formBody, queryOf, readParameters } from '../server.ts'
import { describeScope, readScopes } from './scopes.ts'
import { failures, type StsFailure, stsErrorBody } from './sts-error.ts'
import { findMicrosoftAccount, findTenant, type MicrosoftWorld, type Tenant } from './world.ts'

export interface AdminConsentRequest {
  tenant: Tenant
  redirectUri: string
  scopes: string[]
  state: string | undefined
}

type Reading =
  | { kind: 'request'; request: AdminConsentRequest }
  | { kind: 'answered'; authorization: Authorization }

const look = { provider: 'Microsoft', accent: '#1f5fa8' }
const path = '/:tenant/v2.0/adminconsent'

export function serveAdminConsent(server: FastifyInstance, world: MicrosoftWorld): void {
  server.get<{ Params: { tenant: string } }>(path, async (request, reply) => {
    const reading = readAdminConsent(world, request.params.tenant, queryOf(request))
    if (reading.kind === 'answered') return sendAnswer(reply, reading.authorization)
    const chosen = world.choices.shift()
    if (chosen !== undefined) return sendAnswer(reply, decideAdminConsent(world, reading.request, chosen))
    const { tenant, scopes, redirectUri } = reading.request
    const accounts = admitted(tenant)
    return sendConsentPage(reply, {
      ...look,
      heading: 'Permissions requested for your organization',
      application: 'Flovify Connect',
      action: `/${encodeURIComponent(tenant.segment)}/v2.0/adminconsent`,
      requestId: world.pendingAdmin.add(reading.request),
      accounts,
      selected: (accounts.find((account) => account.admin === true) ?? accounts[0])?.email ?? '',
      scopes: scopes.map((name) => ({ name, label: describeScope(name) })),
      choosable: false,
      acceptLabel: 'Accept',
      cancelLabel: 'Cancel',
      redirectUri,
    })
  })

  server.post<{ Params: { tenant: string } }>(path, async (request, reply) => {
    const parameters = readParameters(formBody(request))
    const get = parameters.kind === 'read' ? parameters.get : () => undefined
    const waiting = world.pendingAdmin.find(get('request') ?? '')
    if (waiting === null) {
      const detail = 'This page is too old. Go back to the application and begin again.'
      return sendDeadEnd(reply, { ...look, status: 400, title: 'We can not sign you in', detail })
    }
    const account = get('account') ?? ''
    const deny = get('decision') !== 'accept'
    return sendAnswer(reply, decideAdminConsent(world, waiting, { account, scopes: null, deny }))
  })
}

export function readAdminConsent(world: MicrosoftWorld, segment: string, query: string): Reading {
  const tenant = findTenant(segment)
  if (tenant === null || segment === 'common' || tenant.tid === personalTenant) {
    return deadEnd(world, failures.unknownTenant(segment))
  }
  const parameters = readParameters(query)
  if (parameters.kind === 'repeated') return deadEnd(world, failures.malformed)
  const { get } = parameters
  if (get('client_id') !== world.options.clientId) return deadEnd(world, failures.unknownApplication)
  const redirectUri = get('redirect_uri')
  if (redirectUri === undefined || !world.options.redirectUris.includes(redirectUri)) {
    return deadEnd(world, failures.redirectMismatch)
  }
  const scopes = readScopes(get('scope'), world.origin)
  if (scopes.kind === 'empty') return deadEnd(world, failures.missing('scope'))
  if (scopes.kind === 'default_mixed') return deadEnd(world, failures.mixedDefault)
  return { kind: 'request', request: { tenant, redirectUri, scopes: scopes.scopes, state: get('state') } }
}

/** Only an administrator of the tenant can accept; another person ends on Microsoft's page. */
export function decideAdminConsent(
  world: MicrosoftWorld,
  request: AdminConsentRequest,
  decision: Decision,
): Authorization {
  const account = findMicrosoftAccount(decision.account)
  if (account === undefined || !request.tenant.admits(account)) {
    return deadEnd(world, failures.foreignUser).authorization
  }
  const fields: [string, string][] = [['admin_consent', 'True']]
  if (decision.deny || world.faults.denyConsent) {
    const body = stsErrorBody({ ...failures.declined, error: 'consent_required' }, world.now())
    fields.push(['error', body.error], ['error_description', body.error_description])
    world.journal.authorizations.denied += 1
  } else {
    if (account.admin !== true) return deadEnd(world, failures.adminOnly).authorization
    const granted = world.tenantConsents.get(account.tid) ?? new Set()
    for (const scope of request.scopes) granted.add(scope.toLowerCase())
    world.tenantConsents.set(account.tid, granted)
    world.journal.authorizations.approved += 1
    const named = request.scopes.map((scope) =>
      URL.canParse(scope) ? scope : `https://graph.microsoft.com/${scope}`,
    )
    fields.push(['tenant', account.tid], ['scope', named.join(' ')])
  }
  if (request.state !== undefined) fields.push(['state', request.state])
  const url = new URL(request.redirectUri)
  const encoded = new URLSearchParams(fields).toString()
  url.search = url.search === '' ? encoded : `${url.search}&${encoded}`
  return { kind: 'callback', callback: { method: 'GET', url: url.href }, fields: [] }
}

function admitted(tenant: Tenant): MicrosoftAccount[] {
  return microsoftAccounts.filter((account) => tenant.admits(account))
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

function sendAnswer(reply: FastifyReply, authorization: Authorization): FastifyReply {
  if (authorization.kind === 'dead_end') return sendDeadEnd(reply, { ...look, ...authorization })
  return reply.header('cache-control', 'no-store').redirect(authorization.callback.url, 302)
}
