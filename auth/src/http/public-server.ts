/**
 * The public door: health, OAuth callbacks, events; every other path is 404. Plain `node:http`, because this door needs
 * raw bytes, every occurrence of every header, and its own limits. It reads a request within its limits, hands it to a
 * room, and writes the answer. It never parses a body and never reads a cookie.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { BlockList } from 'node:net'
import type { Ingest } from '../ingest/receive.ts'
import { monotonicMs } from '../platform/clock.ts'
import { errorFields, type Log } from '../platform/log.ts'
import { openAddressGate } from './address-gate.ts'
import { readBody } from './body.ts'
import { clientAddress, isWithin, networkOf, type TrustedProxies } from './client-address.ts'
import { openPlaces, type Place } from './places.ts'
import { cut, end, refuse } from './public-answer.ts'

/** The callback of the connections room, already translated from HTTP. */
export type CallbackDoor = (request: {
  readonly provider: string
  readonly method: string
  readonly query: [string, string][]
  readonly contentType: string | undefined
  readonly body: Buffer
}) => Promise<{
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}>

export interface PublicDoors {
  readonly ingest: Ingest
  readonly callback: CallbackDoor
  /** For the health page: `/webhook/oauth/microsoft/callback` … */
  readonly endpoints: readonly string[]
  /** Without them nothing is judged by address. */
  readonly proxies: TrustedProxies
  /** From where each provider sends, where the operator has said so. */
  readonly webhookAddresses: ReadonlyMap<string, BlockList>
  readonly overloaded: (reason: string) => void
  readonly log: Log
}

const CALLBACK_BODY_BYTES = 8 * 1024
const URL_LIMIT = 32 * 1024

/** Paths of the public listener; the table of it is also in `routes.ts`. */
const CALLBACK = /^\/webhook\/oauth\/([a-z0-9-]{1,32})\/callback$/
const HEALTH = '/webhook/health'
const EVENTS = /^\/webhook\/events\/([a-z0-9-]{1,32})(?:\/([A-Za-z0-9_.-]{1,160}))?$/

export function buildPublicServer(doors: PublicDoors): Server {
  const places = openPlaces(monotonicMs)
  const gate = openAddressGate(monotonicMs)
  const server = createServer(
    {
      maxHeaderSize: 48 * 1024,
      headersTimeout: 5_000,
      requestTimeout: 10_000,
      connectionsCheckingInterval: 500,
      keepAliveTimeout: 60_000,
      requireHostHeader: true,
    },
    (request, response) => {
      // liveness is answered to everybody: a proxy may ask by the address of somebody who is barred
      if (request.url === HEALTH && health(doors, request, response)) return
      const address = addressOf(doors, request)
      const sender = address === undefined ? undefined : networkOf(address)
      const place =
        sender !== undefined && gate.isBarred(sender)
          ? 'address'
          : places.take(sender, () => request.destroy())
      if (typeof place === 'string') {
        doors.overloaded(place)
        refuse(request, response, 503)
        return
      }
      const visit: Visit = { place, forged: undefined }
      dispatch(doors, visit, request, response)
        .catch((error: unknown) => {
          doors.log.error(errorFields(error), 'a public request failed')
          if (!response.headersSent) end(response, { status: 500 })
          else response.destroy()
        })
        .finally(() => {
          place.leave()
          const { statusCode } = response
          const forged = visit.forged ?? (statusCode >= 400 && statusCode < 500 ? 1 : 0)
          if (sender !== undefined && forged > 0) gate.refused(sender, forged)
          // while draining: a connection that has got its answer would otherwise hold the end up until it is cut
          if (!server.listening) cut(request.socket)
        })
    },
  )
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    const status =
      error.code === 'HPE_HEADER_OVERFLOW'
        ? '431 Request Header Fields Too Large'
        : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
          ? '408 Request Timeout'
          : '400 Bad Request'
    cut(socket, `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
  })
  return server
}

/** What is known of one request beside itself. */
interface Visit {
  readonly place: Place
  /** What its sender pays for, where the room has told; else each refusal is one. */
  forged: number | undefined
}

/** Undefined where the operator has not said what is in front of us. */
function addressOf({ proxies }: PublicDoors, request: IncomingMessage): string | undefined {
  return proxies === undefined
    ? undefined
    : clientAddress(proxies, request.socket.remoteAddress, request.headersDistinct['x-forwarded-for'] ?? [])
}

/** Where the operator has said from where a provider sends: everybody else, and who cannot be named. */
function isOutsider(doors: PublicDoors, request: IncomingMessage, provider: string): boolean {
  const allowed = doors.webhookAddresses.get(provider)
  if (allowed === undefined) return false
  const address = addressOf(doors, request)
  return address === undefined || !isWithin(allowed, address)
}

async function dispatch(
  doors: PublicDoors,
  visit: Visit,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const target = request.url ?? '/'
  if (target.length > URL_LIMIT) return refuse(request, response, 414)
  const at = target.indexOf('?')
  const path = at === -1 ? target : target.slice(0, at)
  const query = at === -1 ? [] : [...new URLSearchParams(target.slice(at + 1))]

  const events = EVENTS.exec(path)
  if (events?.[1] !== undefined) return receive(doors, visit, request, response, events[1], events[2], query)
  const callback = CALLBACK.exec(path)
  if (callback?.[1] !== undefined) return callBack(doors, visit, request, response, callback[1], query)
  if (path === HEALTH && health(doors, request, response)) return
  return path === HEALTH ? refuse(request, response, 405, 'GET, HEAD') : refuse(request, response, 404)
}

/** @returns whether this was a question that has been answered */
function health(doors: PublicDoors, request: IncomingMessage, response: ServerResponse): boolean {
  if (request.method !== 'GET' && request.method !== 'HEAD') return false
  request.resume()
  const body =
    request.method === 'HEAD'
      ? ''
      : JSON.stringify({ status: 'ok', service: 'auth-webhooks', endpoints: doors.endpoints })
  end(response, { status: 200, body, contentType: 'application/json' })
  return true
}

async function receive(
  doors: PublicDoors,
  visit: Visit,
  request: IncomingMessage,
  response: ServerResponse,
  provider: string,
  ref: string | undefined,
  query: [string, string][],
): Promise<void> {
  const limits = doors.ingest.limits(provider)
  if (limits === undefined) return refuse(request, response, 404)
  const method = request.method ?? ''
  if (!limits.methods.includes(method)) return refuse(request, response, 405, limits.methods.join(', '))
  const isStranger = isOutsider(doors, request, provider)
  // strangers can aim a provider's own machines at us: whom the operator has listed never pays for what is not genuine
  const isListed = !isStranger && doors.webhookAddresses.has(provider)
  if (isListed) visit.forged = 0
  // a stranger's body is not worth a byte of memory
  const away = isStranger
    ? 'bad_address'
    : ref !== undefined && doors.ingest.isForged(provider, ref)
      ? 'bad_ref'
      : undefined
  if (away !== undefined) {
    doors.ingest.turnedAway(provider, away, Object.keys(request.headers))
    return refuse(request, response, away === 'bad_address' ? 403 : 404)
  }
  const read = await readBody(request, limits.bodyLimitBytes, visit.place.hold)
  if (read.kind === 'refused') return refuse(request, response, read.status)
  if (read.kind === 'gone') return leftUnread(visit)
  visit.place.settle()
  const headers = request.headersDistinct as Record<string, string[]>
  const answer = await doors.ingest.receive(provider, { method, ref, query, headers, body: read.body })
  if (!isListed) visit.forged = answer.forged
  end(response, answer)
}

/** A body that never came whole costs its sender as much as a forgery: else holding our room would be free. */
function leftUnread(visit: Visit): void {
  visit.forged ??= 1
}

async function callBack(
  doors: PublicDoors,
  visit: Visit,
  request: IncomingMessage,
  response: ServerResponse,
  provider: string,
  query: [string, string][],
): Promise<void> {
  const method = request.method ?? ''
  if (method !== 'GET' && method !== 'POST') return refuse(request, response, 405, 'GET, POST')
  const read = await readBody(request, CALLBACK_BODY_BYTES, visit.place.hold)
  if (read.kind === 'refused') return refuse(request, response, read.status)
  if (read.kind === 'gone') return leftUnread(visit)
  visit.place.settle()
  const answer = await doors.callback({
    provider,
    method,
    query,
    contentType: request.headers['content-type'],
    body: read.body,
  })
  response.writeHead(answer.status, { ...answer.headers, 'content-length': Buffer.byteLength(answer.body) })
  response.end(answer.body)
}
