/**
 * Entra's authorization endpoint: a consent page for a person, or at once the callback when the switch says
 * so. Judging and deciding stand in authorization.ts.
 */
import type { FastifyInstance, FastifyReply } from 'fastify'
import { sendConsentPage, sendDeadEnd, sendFormPostPage } from '../page.ts'
import type { Authorization } from '../provider.ts'
import { formBody, queryOf, readParameters } from '../server.ts'
import { type AuthorizationRequest, accountsFor, decide, readAuthorizationRequest } from './authorization.ts'
import { describeScope } from './scopes.ts'
import type { MicrosoftWorld } from './world.ts'

const look = { provider: 'Microsoft', accent: '#1f5fa8' }
const path = '/:tenant/oauth2/v2.0/authorize'

export function serveAuthorize(server: FastifyInstance, world: MicrosoftWorld): void {
  server.get<{ Params: { tenant: string } }>(path, async (request, reply) => {
    const reading = readAuthorizationRequest(world, request.params.tenant, queryOf(request))
    if (reading.kind === 'answered') return sendAuthorization(reply, reading.authorization)
    const chosen = world.choices.shift()
    if (chosen !== undefined) return sendAuthorization(reply, decide(world, reading.request, chosen))
    const account = silentAccount(world, reading.request)
    if (account !== null) {
      return sendAuthorization(reply, decide(world, reading.request, { account, scopes: null, deny: false }))
    }
    return ask(reply, world, reading.request)
  })

  server.post<{ Params: { tenant: string } }>(path, async (request, reply) => {
    const parameters = readParameters(formBody(request))
    const waiting = parameters.kind === 'read' ? world.pending.find(parameters.get('request') ?? '') : null
    if (parameters.kind === 'repeated' || waiting === null) {
      const detail = 'This page is too old. Go back to the application and begin again.'
      return sendDeadEnd(reply, { ...look, status: 400, title: 'We can not sign you in', detail })
    }
    const account = parameters.get('account') ?? preselected(waiting)
    const deny = parameters.get('decision') !== 'accept'
    return sendAuthorization(reply, decide(world, waiting, { account, scopes: null, deny }))
  })
}

/** Whom the `skipConsent` switch approves for, if it is on. */
export function silentAccount(world: MicrosoftWorld, request: AuthorizationRequest): string | null {
  const { skipConsent } = world.faults
  if (skipConsent === false) return null
  return typeof skipConsent === 'string' ? skipConsent : preselected(request)
}

export function preselected(request: AuthorizationRequest): string {
  return request.hinted?.email ?? accountsFor(request)[0]?.email ?? ''
}

function ask(reply: FastifyReply, world: MicrosoftWorld, request: AuthorizationRequest): FastifyReply {
  return sendConsentPage(reply, {
    ...look,
    heading: 'Permissions requested',
    application: 'Flovify Connect',
    action: `/${encodeURIComponent(request.tenant.segment)}/oauth2/v2.0/authorize`,
    requestId: world.pending.add(request),
    accounts: accountsFor(request),
    selected: preselected(request),
    scopes: request.scopes.map((name) => ({ name, label: describeScope(name) })),
    choosable: false,
    acceptLabel: 'Accept',
    cancelLabel: 'Cancel',
    redirectUri: request.redirectUri,
  })
}

function sendAuthorization(reply: FastifyReply, authorization: Authorization): FastifyReply {
  if (authorization.kind === 'dead_end') return sendDeadEnd(reply, { ...look, ...authorization })
  const { callback, fields } = authorization
  if (callback.method === 'POST') {
    return sendFormPostPage(reply, { ...look, redirectUri: callback.url, fields })
  }
  return reply.header('cache-control', 'no-store').redirect(callback.url, 302)
}
