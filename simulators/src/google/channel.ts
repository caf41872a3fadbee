/**
 * Drive's and Calendar's `web_hook` channels (protocols/google.md §4): made with a sync message, never renewed,
 * notified without a body, a signature or a bearer token, stopped by the same user only.
 */
import { randomBytes, randomInt } from 'node:crypto'
import type { OutgoingHttpHeaders } from 'node:http'
import { isLoopbackUrl } from '../options.ts'
import type { FirstAttempt, Parcel } from '../postman.ts'
import type { GoogleWorld } from './world.ts'

export type ChannelKind = 'changes' | 'file' | 'events' | 'calendarList'

export interface Channel {
  id: string
  account: string
  kind: ChannelKind
  /** Id of the file or the calendar; empty for the changes of a drive. */
  target: string
  resourceId: string
  resourceUri: string
  address: string
  token: string | null
  expiresAt: number
  number: number
  stopped: boolean
}

export interface ChannelTarget {
  kind: ChannelKind
  target: string
  resourceUri: string
}

/** Seconds: what is given without a wish, and the most that is given (protocols/google.md §4.2). */
const lifetimes: Record<ChannelKind, { usual: number; longest: number }> = {
  changes: { usual: 3_600, longest: 604_800 },
  file: { usual: 3_600, longest: 86_400 },
  events: { usual: 604_800, longest: 2_592_000 },
  calendarList: { usual: 604_800, longest: 2_592_000 },
}

const acknowledging = [102, 200, 201, 202, 204]
const retried = [500, 502, 503, 504]

export type ChannelReading =
  | { kind: 'opened'; channel: Channel }
  | { kind: 'refused'; reason: string; message: string }

/** Judges the body of a watch call and remembers the channel. A channel id is good once and never again. */
export function openChannel(
  world: GoogleWorld,
  account: string,
  target: ChannelTarget,
  body: Record<string, unknown> | null,
): ChannelReading {
  const refused = (reason: string, message: string): ChannelReading => ({ kind: 'refused', reason, message })
  const { id, type, address, token } = body ?? {}
  if (typeof id !== 'string' || !/^[A-Za-z0-9\-_+/=]{1,64}$/.test(id)) {
    return refused('channelIdInvalid', 'Channel id must be 1 to 64 characters of A-Z a-z 0-9 - _ + / =')
  }
  if (type !== 'web_hook' && type !== 'webhook') {
    return refused('push.channelTypeNotSupported', 'Channel type not supported')
  }
  if (typeof address !== 'string' || !isLoopbackUrl(address)) {
    return refused('push.webhookUrlNotHttps', 'WebHook callback must be HTTPS (here: a loopback URL)')
  }
  if (token !== undefined && (typeof token !== 'string' || token.length > 256)) {
    return refused('push.invalidChannelToken', 'Channel token must be a text of at most 256 characters')
  }
  const expiresAt = expiryOf(target.kind, body ?? {}, world.now())
  if (expiresAt === null) return refused('push.channelExpirationInvalid', 'Channel expiration is in the past')
  if (world.channels.has(id)) return refused('channelIdNotUnique', `Channel id ${id} not unique`)
  const channel: Channel = {
    id,
    account,
    ...target,
    resourceId: resourceIdOf(world, account, target),
    address,
    token: typeof token === 'string' ? token : null,
    expiresAt,
    number: 1,
    stopped: false,
  }
  world.channels.set(id, channel)
  return { kind: 'opened', channel }
}

export function presentChannel(world: GoogleWorld, channel: Channel) {
  const { id, resourceId, resourceUri, token } = channel
  const expiration = world.faults.expirationAs === 'number' ? channel.expiresAt : `${channel.expiresAt}`
  return {
    kind: 'api#channel',
    id,
    resourceId,
    resourceUri,
    ...(token === null ? {} : { token }),
    expiration,
  }
}

export function isLive(world: GoogleWorld, channel: Channel): boolean {
  return !channel.stopped && channel.expiresAt > world.now()
}

export function liveChannels(world: GoogleWorld, account?: string): Channel[] {
  return [...world.channels.values()].filter(
    (channel) => isLive(world, channel) && (account === undefined || channel.account === account),
  )
}

/** Ends the channel; `false` for one that is unknown, over, or somebody else's. */
export function stopChannel(world: GoogleWorld, account: string, id: unknown, resourceId: unknown): boolean {
  const channel = typeof id === 'string' ? world.channels.get(id) : undefined
  if (channel === undefined || !isLive(world, channel)) return false
  if (channel.account !== account || channel.resourceId !== resourceId) return false
  channel.stopped = true
  return true
}

/** The first message: number 1, state `sync`. */
export function sendSync(world: GoogleWorld, channel: Channel): Promise<FirstAttempt> {
  return world.postman.deliver(channelParcel(world, channel, headersOf(channel, 'sync', null), true))
}

export const channelForgeries = ['token', 'noToken', 'resource', 'unknown'] as const
export type ChannelForgery = (typeof channelForgeries)[number]

/** One notification; the number grows, with gaps. A forged one is sent once. */
export function channelNotice(
  world: GoogleWorld,
  channel: Channel,
  state: string,
  changed: string | null,
  forge: ChannelForgery | null,
): Parcel {
  channel.number += channel.kind === 'changes' ? randomInt(1_000, 100_000) : randomInt(1, 10)
  const headers = headersOf(channel, state, changed)
  if (forge === 'token') headers['x-goog-channel-token'] = `forged-${randomBytes(16).toString('hex')}`
  if (forge === 'noToken') delete headers['x-goog-channel-token']
  if (forge === 'resource') headers['x-goog-resource-id'] = randomBytes(20).toString('base64url')
  if (forge === 'unknown') headers['x-goog-channel-id'] = randomBytes(16).toString('hex')
  return channelParcel(world, channel, headers, forge === null)
}

function channelParcel(
  world: GoogleWorld,
  channel: Channel,
  headers: OutgoingHttpHeaders,
  genuine: boolean,
): Parcel {
  return {
    url: channel.address,
    body: '',
    headers: async () => headers,
    timeoutMs: () => 10_000,
    acknowledges: (status) => acknowledging.includes(status),
    repeats: (status) => genuine && isLive(world, channel) && (status === null || retried.includes(status)),
  }
}

function headersOf(channel: Channel, state: string, changed: string | null): OutgoingHttpHeaders {
  return {
    'user-agent': 'APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)',
    accept: '*/*',
    'x-goog-channel-expiration': new Date(channel.expiresAt).toUTCString(),
    'x-goog-channel-id': channel.id,
    ...(channel.token === null ? {} : { 'x-goog-channel-token': channel.token }),
    'x-goog-message-number': `${channel.number}`,
    'x-goog-resource-id': channel.resourceId,
    'x-goog-resource-state': state,
    'x-goog-resource-uri': channel.resourceUri,
    ...(changed === null ? {} : { 'x-goog-changed': changed }),
  }
}

/** The wish (`expiration` in milliseconds, or `params.ttl` in seconds), cut to the longest; `null`: in the past. */
function expiryOf(kind: ChannelKind, body: Record<string, unknown>, now: number): number | null {
  const { usual, longest } = lifetimes[kind]
  const { ttl } = Object(body.params) as Record<string, unknown>
  const wished =
    body.expiration !== undefined
      ? Number(body.expiration)
      : now + (ttl === undefined ? usual : Number(ttl)) * 1_000
  if (!Number.isFinite(wished) || wished <= now) return null
  return Math.min(Math.trunc(wished), now + longest * 1_000)
}

/** The same resource of the same account has the same id, whatever channel watches it. */
function resourceIdOf(world: GoogleWorld, account: string, target: ChannelTarget): string {
  const key = `${account} ${target.kind} ${target.target}`
  const known = world.resourceIds.get(key) ?? randomBytes(20).toString('base64url')
  world.resourceIds.set(key, known)
  return known
}
