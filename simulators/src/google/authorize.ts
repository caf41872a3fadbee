/**
 * Google's authorization endpoint: a consent page with a box per scope, or at once the callback for an account
 * that has nothing left to consent to. Judging and deciding stand in authorization.ts.
 */
import type { FastifyInstance, FastifyReply } from 'fastify'
import { googleAccounts } from '../accounts.ts'
import { sendConsentPage, sendDeadEnd } from '../page.ts'
import type { Authorization } from '../provider.ts'
import { formBody, queryOf } from '../server.ts'
import {
  type AuthorizationRequest,
  decide,
  decideOnPage,
  readAuthorizationRequest,
  returningAccount,
} from './authorization.ts'
import { describeScope } from './scopes.ts'
import type { GoogleWorld } from './world.ts'

const look = { provider: 'Google', accent: '#1d6b45' }
const path = '/o/oauth2/v2/auth'

export function serveAuthorize(server: FastifyInstance, world: GoogleWorld): void {
  server.get(path, async (request, reply) => {
    const reading = readAuthorizationRequest(world, queryOf(request))
    if (reading.kind === 'answered') return sendAuthorization(reply, reading.authorization)
    const chosen = world.choices.shift()
    if (chosen !== undefined) return sendAuthorization(reply, decide(world, reading.request, chosen))
    // A named account is a person who picks another one than was hinted: Google allows that (§1.2).
    const named = typeof world.faults.skipConsent === 'string' ? world.faults.skipConsent : null
    const returning = returningAccount(world, reading.request)
    const account = named ?? returning ?? silentAccount(world, reading.request)
    if (account !== null) {
      return sendAuthorization(reply, decide(world, reading.request, { account, scopes: null, deny: false }))
    }
    return ask(reply, world, reading.request)
  })

  server.post(path, async (request, reply) => {
    const form = new URLSearchParams(formBody(request))
    const waiting = world.pending.find(form.get('request') ?? '')
    if (waiting === null) {
      const detail = 'This page is too old. Go back to the application and begin again.'
      return sendDeadEnd(reply, { ...look, status: 400, title: 'Something went wrong', detail })
    }
    const account = form.get('account') ?? preselected(waiting)
    const ticked = form.get('decision') === 'accept' ? form.getAll('scope') : []
    if (form.get('decision') !== 'accept') {
      return sendAuthorization(reply, decide(world, waiting, { account, scopes: null, deny: true }))
    }
    return sendAuthorization(reply, decideOnPage(world, waiting, account, ticked))
  })
}

/** Whom the `skipConsent` switch approves for, if it is on. */
function silentAccount(world: GoogleWorld, request: AuthorizationRequest): string | null {
  const { skipConsent } = world.faults
  if (skipConsent === false) return null
  return typeof skipConsent === 'string' ? skipConsent : preselected(request)
}

export function preselected(request: AuthorizationRequest): string {
  return request.hinted?.email ?? googleAccounts[0]?.email ?? ''
}

function ask(reply: FastifyReply, world: GoogleWorld, request: AuthorizationRequest): FastifyReply {
  const scopes = request.scopes.filter((scope) => scope !== 'openid')
  return sendConsentPage(reply, {
    ...look,
    heading: 'Flovify Connect wants access to your Google Account',
    application: 'Flovify Connect',
    action: path,
    requestId: world.pending.add(request),
    accounts: googleAccounts,
    selected: preselected(request),
    scopes: scopes.map((name) => ({ name, label: describeScope(name) })),
    choosable: true,
    acceptLabel: 'Continue',
    cancelLabel: 'Cancel',
    redirectUri: request.redirectUri,
  })
}

function sendAuthorization(reply: FastifyReply, authorization: Authorization): FastifyReply {
  if (authorization.kind === 'dead_end') return sendDeadEnd(reply, { ...look, ...authorization })
  return reply.header('cache-control', 'no-store').redirect(authorization.callback.url, 302)
}
