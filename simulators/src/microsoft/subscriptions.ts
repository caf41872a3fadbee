/**
 * Graph's subscription routes: create with the live handshake, list, read, renew, reauthorize, delete
 * (protocols/microsoft.md §2.1 to §2.6). A subscription is seen only by the person who made it.
 */
import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { takeAnswer } from '../faults.ts'
import { type LeaseCall, watchLeaseCalls } from '../lease-calls.ts'
import { isLoopbackUrl } from '../options.ts'
import { bearerOf, jsonBody } from '../server.ts'
import type { HeldToken } from '../tokens.ts'
import { releaseHeld } from './delivery.ts'
import { type CertificateReading, readCertificate } from './encryption.ts'
import { callerOf, sendGraphError } from './graph.ts'
import { shakeHands } from './handshake.ts'
import { invalid } from './refusal.ts'
import {
  longestMinutesOf,
  presentSubscription,
  readExpiry,
  readSubscription,
  type Subscription,
} from './subscription.ts'
import type { MicrosoftWorld } from './world.ts'

const path = '/v1.0/subscriptions'
const longestPerMailbox = 1_000
const pageSize = 100
const conflictWindowMs = 600_000
type ById = { Params: { id: string } }

const calls: Readonly<Record<string, LeaseCall>> = {
  [`POST ${path}`]: 'create',
  [`PATCH ${path}/:id`]: 'renew',
  [`DELETE ${path}/:id`]: 'stop',
}

export function serveSubscriptions(server: FastifyInstance, world: MicrosoftWorld): void {
  const { clientId } = world.options
  watchLeaseCalls(server, world, ({ method, routeOptions }) => calls[`${method} ${routeOptions.url}`] ?? null)
  const context = (world_: MicrosoftWorld, tail: string) =>
    `${world_.origin}/v1.0/$metadata#subscriptions${tail}`

  server.post(path, async (request, reply) => {
    const caller = enter(world, request, reply)
    if (caller === null) return reply
    const body = jsonBody(request)
    if (body === null)
      return sendGraphError(world, request, reply, 400, 'BadRequest', 'Unable to read JSON request payload.')
    const reading = readSubscription(body, caller, world.now())
    if (reading.kind === 'refused')
      return sendGraphError(world, request, reply, reading.status, reading.code, reading.message)
    const { subscription } = reading
    const mine = ownedBy(world, caller)
    const same = mine.find(
      (other) => other.resource === subscription.resource && other.changeType === subscription.changeType,
    )
    if (same !== undefined && !world.faults.duplicateSubscriptions) {
      const message = `Subscription Id <${same.id}> already exists for the requested combination`
      return sendGraphError(world, request, reply, 409, 'Conflict', message)
    }
    if (mine.length >= longestPerMailbox) {
      const message = `Subscription limit of ${longestPerMailbox} for the mailbox reached.`
      return sendGraphError(world, request, reply, 403, 'Forbidden', message)
    }
    const refusal = await validateUrls(
      world,
      subscription.notificationUrl,
      subscription.lifecycleNotificationUrl,
    )
    if (refusal !== null) return sendGraphError(world, request, reply, 400, 'InvalidRequest', refusal)
    const created: Subscription = { ...subscription, id: randomUUID() }
    world.subscriptions.set(created.id, created)
    world.log(`microsoft: subscription ${created.id} created`)
    return reply
      .code(201)
      .send({ '@odata.context': context(world, '/$entity'), ...presentSubscription(created, clientId, true) })
  })

  server.get<{ Querystring: { $skiptoken?: string } }>(path, async (request, reply) => {
    const caller = enter(world, request, reply)
    if (caller === null) return reply
    const from = Math.max(Number.parseInt(request.query.$skiptoken ?? '0', 10) || 0, 0)
    const mine = ownedBy(world, caller)
    const page = mine.slice(from, from + pageSize)
    const next = from + pageSize < mine.length ? from + pageSize : null
    return reply.send({
      '@odata.context': context(world, ''),
      value: page.map((subscription) => presentSubscription(subscription, clientId, false)),
      ...(next === null ? {} : { '@odata.nextLink': `${world.origin}${path}?$skiptoken=${next}` }),
    })
  })

  server.get<ById>(`${path}/:id`, async (request, reply) => {
    const found = own(world, request, reply, request.params.id)
    if (found === null) return reply
    return reply.send({
      '@odata.context': context(world, '/$entity'),
      ...presentSubscription(found, clientId, true),
    })
  })

  server.patch<ById>(`${path}/:id`, async (request, reply) => {
    const found = own(world, request, reply, request.params.id)
    if (found === null) return reply
    const fixed = takeAnswer(world.faults, 'renewalError')
    if (fixed !== null) return reply.code(fixed.status).headers(fixed.headers).send(fixed.body)
    const body = jsonBody(request)
    if (body === null)
      return sendGraphError(world, request, reply, 400, 'BadRequest', 'Unable to read JSON request payload.')
    const { expirationDateTime, notificationUrl } = body
    const rotation = readRotation(body, found)
    if (rotation.kind === 'refused')
      return sendGraphError(world, request, reply, rotation.status, rotation.code, rotation.message)
    if (expirationDateTime === undefined && notificationUrl === undefined && rotation.certificate === null) {
      return sendGraphError(world, request, reply, 400, 'InvalidRequest', 'Nothing to update.')
    }
    let expiresAt = found.expiresAt
    if (expirationDateTime !== undefined) {
      const expiry = readExpiry(expirationDateTime, longestMinutesOf(found), world.now())
      if (expiry.kind === 'refused')
        return sendGraphError(world, request, reply, expiry.status, expiry.code, expiry.message)
      expiresAt = expiry.at
    }
    if (notificationUrl !== undefined && notificationUrl !== found.notificationUrl) {
      if (typeof notificationUrl !== 'string' || !isLoopbackUrl(notificationUrl)) {
        return sendGraphError(
          world,
          request,
          reply,
          400,
          'InvalidRequest',
          'notificationUrl must be a loopback URL.',
        )
      }
      const refusal = await validateUrls(world, notificationUrl, null)
      if (refusal !== null) return sendGraphError(world, request, reply, 400, 'InvalidRequest', refusal)
      found.notificationUrl = notificationUrl
    }
    noteConflict(world, found.reauthorizedAt)
    found.expiresAt = expiresAt
    if (rotation.certificate !== null) found.encryption = rotation.certificate
    found.renewedAt = world.now()
    refreshToken(world, request, found)
    return reply.send({
      '@odata.context': context(world, '/$entity'),
      ...presentSubscription(found, clientId, true),
    })
  })

  server.post<ById>(`${path}/:id/reauthorize`, async (request, reply) => {
    const found = own(world, request, reply, request.params.id)
    if (found === null) return reply
    noteConflict(world, found.renewedAt)
    found.reauthorizedAt = world.now()
    refreshToken(world, request, found)
    return reply.code(204).send()
  })

  server.delete<ById>(`${path}/:id`, async (request, reply) => {
    const found = own(world, request, reply, request.params.id)
    if (found === null) return reply
    world.subscriptions.delete(found.id)
    world.log(`microsoft: subscription ${found.id} deleted`)
    return reply.code(204).send()
  })
}

export function liveSubscriptions(world: MicrosoftWorld): Subscription[] {
  return [...world.subscriptions.values()].filter((subscription) => subscription.expiresAt > world.now())
}

/** A new certificate, for a subscription that has one. */
function readRotation(body: Record<string, unknown>, subscription: Subscription): CertificateReading {
  const reading = readCertificate(body)
  if (reading.kind === 'read' && reading.certificate !== null && subscription.encryption === null)
    return invalid('This subscription has no resource data to encrypt.')
  return reading
}

/** The mailbox's own, or, where it stands for many, those of one consent. */
function ownedBy(world: MicrosoftWorld, caller: HeldToken): Subscription[] {
  const { oneStandsForMany } = world.faults
  return liveSubscriptions(world).filter(
    ({ account, grant }) => account === caller.account && (!oneStandsForMany || grant === caller.grant),
  )
}

/** Renewing and reauthorizing both put the caller's token behind the subscription (protocols/microsoft.md §2.5). */
function refreshToken(world: MicrosoftWorld, request: FastifyRequest, subscription: Subscription): void {
  const token = world.tokens.findAccess(bearerOf(request) ?? '')
  if (token.kind !== 'live') return
  subscription.tokenExpiresAt = token.token.expiresAt
  releaseHeld(world, subscription.id)
}

/** PATCH and reauthorize within ten minutes leave a subscription inconsistent: counted, so a test sees it. */
function noteConflict(world: MicrosoftWorld, otherAt: number | null): void {
  if (otherAt !== null && world.now() - otherAt < conflictWindowMs) world.journal.reauthorizeConflicts += 1
}

function enter(world: MicrosoftWorld, request: FastifyRequest, reply: FastifyReply): HeldToken | null {
  const fixed = takeAnswer(world.faults, 'subscriptionError')
  if (fixed !== null) {
    reply.code(fixed.status).headers(fixed.headers).send(fixed.body)
    return null
  }
  return callerOf(world, request, reply)
}

function own(
  world: MicrosoftWorld,
  request: FastifyRequest,
  reply: FastifyReply,
  id: string,
): Subscription | null {
  const caller = enter(world, request, reply)
  if (caller === null) return null
  const found = liveSubscriptions(world).find(
    (subscription) => subscription.id === id && subscription.account === caller.account,
  )
  if (found === undefined)
    sendGraphError(world, request, reply, 404, 'ResourceNotFound', 'The object was not found.')
  return found ?? null
}

/** Both URLs, separately; two validations also if they are equal. */
async function validateUrls(
  world: MicrosoftWorld,
  notification: string,
  lifecycle: string | null,
): Promise<string | null> {
  const first = await shakeHands(world, notification, 'notification')
  if (first.kind === 'failed') return first.message
  if (lifecycle === null) return null
  const second = await shakeHands(world, lifecycle, 'lifecycle')
  return second.kind === 'failed' ? second.message : null
}
