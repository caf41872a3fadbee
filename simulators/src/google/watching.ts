/**
 * The watch and stop calls that Drive and Calendar share, and the telling of a change to all channels that it
 * concerns. What a resource is stands in drive.ts and calendar.ts.
 */
import { randomBytes } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type ChangeOrder, changeItem, collectionOf } from '../collection.ts'
import { takeAnswer } from '../faults.ts'
import type { LeaseCall } from '../lease-calls.ts'
import type { Parcel } from '../postman.ts'
import type { ChangeOutcome, PushOutcome } from '../provider.ts'
import { jsonBody } from '../server.ts'
import { apiCaller, sendError } from './api.ts'
import {
  type Channel,
  type ChannelTarget,
  channelForgeries,
  channelNotice,
  liveChannels,
  openChannel,
  presentChannel,
  sendSync,
  stopChannel,
} from './channel.ts'
import type { GoogleWorld } from './world.ts'

/** A watch call makes a lease; a channel, or the mailbox's watch, is ended by stop. */
export function leaseCallOf(request: FastifyRequest): LeaseCall | null {
  const url = request.routeOptions.url ?? ''
  if (request.method !== 'POST') return null
  if (url.endsWith('/watch')) return 'create'
  return url.endsWith('/stop') ? 'stop' : null
}

type Opens = (scopes: readonly string[]) => boolean

/** Answers a watch call. The sync message goes out before the answer; with `syncFirst` it also arrives before. */
export async function answerWatch(
  world: GoogleWorld,
  request: FastifyRequest,
  reply: FastifyReply,
  opens: Opens,
  target: ChannelTarget,
): Promise<FastifyReply> {
  const fixed = takeAnswer(world.faults, 'subscriptionError')
  if (fixed !== null) return reply.code(fixed.status).headers(fixed.headers).send(fixed.body)
  const caller = apiCaller(world, request, reply, opens)
  if (caller === null) return reply
  const opened = openChannel(world, caller.account, target, jsonBody(request))
  if (opened.kind === 'refused')
    return sendError(reply, 400, opened.reason, opened.message, 'INVALID_ARGUMENT')
  const sync = sendSync(world, opened.channel)
  if (world.faults.syncFirst) await sync
  else sync.catch((error: unknown) => world.log(`google: sync message failed: ${String(error)}`))
  world.log(`google: channel ${opened.channel.id} opened`)
  return reply.send(presentChannel(world, opened.channel))
}

export function serveStop(server: FastifyInstance, world: GoogleWorld, path: string, opens: Opens): void {
  server.post(path, async (request, reply) => {
    const caller = apiCaller(world, request, reply, opens)
    if (caller === null) return reply
    const body = jsonBody(request)
    if (stopChannel(world, caller.account, body?.id, body?.resourceId)) return reply.code(204).send()
    const message = `Channel '${String(body?.id).slice(0, 64)}' not found for project`
    return sendError(reply, 404, 'notFound', message, 'NOT_FOUND')
  })
}

/** A file or an event changes: Drive tells the changes and the file, Calendar only that events exist. */
export async function changeWatched(
  world: GoogleWorld,
  account: string,
  what: 'file' | 'event',
  order: ChangeOrder,
): Promise<ChangeOutcome> {
  const collection = collectionOf(what === 'file' ? world.drives : world.calendars, account)
  const change = changeItem(collection, order, () => randomBytes(18).toString('base64url'), world.now())
  if (change === null) return { kind: 'refused', reason: 'no such item' }
  const parcels: Parcel[] = []
  for (const channel of liveChannels(world, account)) {
    const state = what === 'file' ? driveState(channel, change.item.id, change.kind) : calendarState(channel)
    if (state === null || world.muted.has(channel.id)) continue
    const changed = state === 'update' ? 'content,properties' : null
    parcels.push(channelNotice(world, channel, state, changed, null))
  }
  const pushes = await Promise.all(parcels.map((parcel) => world.postman.deliver(parcel)))
  return { kind: 'changed', change, pushes }
}

/**
 * Notifies a channel again, also one that is stopped or over: Google may go on for a while.
 *
 * @param order `channelId` (otherwise all live ones of the account), `state`, `forge`, `repeat`
 */
export async function pushChannel(
  world: GoogleWorld,
  account: string,
  order: Record<string, unknown>,
): Promise<PushOutcome> {
  const { channelId, state = 'change', forge = null, repeat = 1 } = order
  const found = channelForgeries.find((name) => name === forge) ?? null
  if (forge !== null && found === null) {
    return { kind: 'refused', reason: `forge must be of ${channelForgeries.join(', ')}` }
  }
  if (typeof state !== 'string' || !/^[a-z_]{1,20}$/.test(state))
    return { kind: 'refused', reason: 'wrong state' }
  if (typeof repeat !== 'number' || !(repeat >= 1 && repeat <= 1_000)) {
    return { kind: 'refused', reason: 'repeat must be 1 to 1000' }
  }
  const named = typeof channelId === 'string' ? world.channels.get(channelId) : undefined
  const channels = channelId === undefined ? liveChannels(world, account) : named ? [named] : []
  if (channels.length === 0) return { kind: 'refused', reason: 'no such channel' }
  const parcels = channels.flatMap((channel) => {
    const parcel = channelNotice(world, channel, state, null, found)
    return Array.from({ length: repeat }, () => parcel)
  })
  return { kind: 'sent', pushes: await Promise.all(parcels.map((parcel) => world.postman.deliver(parcel))) }
}

function driveState(channel: Channel, fileId: string, kind: 'created' | 'updated' | 'deleted') {
  if (channel.kind === 'changes') return 'change'
  if (channel.kind !== 'file' || channel.target !== fileId) return null
  return { created: 'add', updated: 'update', deleted: 'trash' }[kind]
}

function calendarState(channel: Channel): string | null {
  return channel.kind === 'events' ? 'exists' : null
}
