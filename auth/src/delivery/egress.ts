/**
 * The egress guard: the only way a delivery leaves. Every address that is not public is refused when a destination is
 * saved and again when a socket is opened, unless `EGRESS_ALLOW` names exactly that host, port and path. All answers of
 * the resolver are checked and the socket goes to a checked one, so a name cannot change between check and use. It
 * never follows a redirect, never decompresses, never reads more than 64 KiB, and cannot be switched off.
 * Sources: OWASP SSRF Prevention Cheat Sheet; Standard Webhooks "SSRF"; security.md T27 to T31.
 */
import { lookup as systemLookup } from 'node:dns/promises'
import { isIP, type LookupFunction } from 'node:net'
import { Agent, buildConnector, type Dispatcher } from 'undici'
import { type EgressAllowance, isAllowed, portOf } from './egress-allow.ts'
import { EgressRefusedError, type FailureCode, failureCodeOf, type RefusalReason } from './egress-failure.ts'
import { isPublicAddress } from './egress-ranges.ts'

export interface ResolvedAddress {
  readonly address: string
  readonly family: number
}

/** Every address of a name. Rejects when there is none. */
export type Lookup = (hostname: string) => Promise<readonly ResolvedAddress[]>

export interface EgressNeeds {
  readonly allow: readonly EgressAllowance[]
  /** The system's resolver unless given. */
  readonly lookup?: Lookup
  /** Additional certificate authorities in PEM, for receivers with a private one. */
  readonly ca?: string
}

export type EgressVerdict =
  | { readonly kind: 'permitted'; readonly url: string }
  | { readonly kind: 'refused'; readonly reason: RefusalReason }

export interface EgressRequest {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  /** Total time from looking the name up to the last byte read. */
  readonly deadlineMs: number
  readonly signal?: AbortSignal
}

export type EgressAnswer =
  | { readonly kind: 'answered'; readonly status: number; readonly retryAfter: string | undefined }
  | { readonly kind: 'refused'; readonly reason: RefusalReason }
  | { readonly kind: 'failed'; readonly error: FailureCode }

export interface Egress {
  /** At save. The URL comes back as it will be used: parsed by WHATWG rules, without fragment. */
  check(url: string): Promise<EgressVerdict>
  /** At every attempt: judged again, sent once. Never throws for what the other side does. */
  post(request: EgressRequest): Promise<EgressAnswer>
  close(): Promise<void>
}

const MAX_ANSWER_BYTES = 64 * 1024
const CONNECT_MS = 10_000

export function openEgress(needs: EgressNeeds): Egress {
  const lookup: Lookup = needs.lookup ?? ((hostname) => systemLookup(hostname, { all: true }))
  // Two agents, because sockets are kept: one opened for an allowed path must never serve another path of that host.
  const agents = {
    public: agentFor(needs, guardedLookup(lookup, true), true),
    allowed: agentFor(needs, guardedLookup(lookup, false), false),
  }
  return {
    async check(text) {
      const route = routeOf(needs.allow, text)
      if (route.kind === 'refused') return route
      if (route.kind === 'public') {
        const reason = await nameRefusal(lookup, route.url)
        if (reason !== undefined) return { kind: 'refused', reason }
      }
      return { kind: 'permitted', url: route.url.href }
    },
    async post(request) {
      const route = routeOf(needs.allow, request.url)
      if (route.kind === 'refused') return route
      return send(agents[route.kind], route.url, request)
    },
    async close() {
      await Promise.all([agents.public.destroy(), agents.allowed.destroy()])
    },
  }
}

type Route =
  | { readonly kind: 'public' | 'allowed'; readonly url: URL }
  | { readonly kind: 'refused'; readonly reason: RefusalReason }

/** What can be said of a URL without asking anybody. */
function routeOf(allow: readonly EgressAllowance[], text: string): Route {
  if (!URL.canParse(text)) return { kind: 'refused', reason: 'not_a_url' }
  // The WHATWG parser turns decimal, octal, hexadecimal and Unicode digits into the address that they mean.
  const url = new URL(text)
  url.hash = ''
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return { kind: 'refused', reason: 'scheme' }
  if (url.username !== '' || url.password !== '') return { kind: 'refused', reason: 'userinfo' }
  if (isAllowed(allow, url)) return { kind: 'allowed', url }
  // An address is judged first, so that the reason names the real trouble.
  const literal = literalOf(url.hostname)
  if (literal !== undefined && !isPublicAddress(literal))
    return { kind: 'refused', reason: 'special_address' }
  if (url.protocol !== 'https:') return { kind: 'refused', reason: 'scheme' }
  if (portOf(url) !== 443) return { kind: 'refused', reason: 'port' }
  return { kind: 'public', url }
}

/** The address in a URL's host, if it is one: no lookup happens for it, so the resolver's check would never see it. */
function literalOf(hostname: string): string | undefined {
  const bare = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname
  return isIP(bare) === 0 ? undefined : bare
}

async function nameRefusal(lookup: Lookup, url: URL): Promise<RefusalReason | undefined> {
  if (literalOf(url.hostname) !== undefined) return undefined
  try {
    const addresses = await lookup(url.hostname)
    if (addresses.length === 0) return 'name_not_found'
    return addresses.every(({ address }) => isPublicAddress(address)) ? undefined : 'special_address'
  } catch {
    return 'name_not_found'
  }
}

/**
 * The lookup that the socket itself uses: what it returns is what is connected to, so nothing can change in between.
 * One special address among the answers refuses them all.
 */
function guardedLookup(lookup: Lookup, publicOnly: boolean): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname).then(
      (addresses) => {
        const [first] = addresses
        if (first === undefined) callback(new EgressRefusedError('name_not_found'), '')
        else if (publicOnly && !addresses.every(({ address }) => isPublicAddress(address)))
          callback(new EgressRefusedError('special_address'), '')
        else if (options.all)
          callback(
            null,
            addresses.map(({ address, family }) => ({ address, family })),
          )
        else callback(null, first.address, first.family)
      },
      (error: NodeJS.ErrnoException) => callback(error, ''),
    )
  }
}

function agentFor(needs: EgressNeeds, lookup: LookupFunction, publicOnly: boolean): Agent {
  const connect = buildConnector({
    lookup,
    timeout: CONNECT_MS,
    allowH2: false,
    ...(needs.ca === undefined ? {} : { ca: needs.ca }),
  } as buildConnector.BuildOptions)
  return new Agent({
    connect: (options, callback) => {
      const literal = literalOf(options.hostname)
      if (publicOnly && literal !== undefined && !isPublicAddress(literal)) {
        callback(new EgressRefusedError('special_address'), null)
        return
      }
      // RFC 6066 §3: the server name has no trailing dot, and an address is none.
      const servername = literal === undefined ? options.hostname.replace(/\.$/, '') : ''
      connect(servername === '' ? options : { ...options, servername }, callback)
    },
    pipelining: 1,
    keepAliveTimeout: 4_000,
    keepAliveMaxTimeout: 60_000,
    maxHeaderSize: 16 * 1024,
  })
}

async function send(agent: Agent, url: URL, request: EgressRequest): Promise<EgressAnswer> {
  const deadline = AbortSignal.timeout(request.deadlineMs)
  const signal = request.signal === undefined ? deadline : AbortSignal.any([deadline, request.signal])
  try {
    const answering = agent.request({
      origin: url.origin,
      path: `${url.pathname}${url.search}`,
      method: 'POST',
      headers: request.headers,
      body: request.body,
      signal,
      headersTimeout: request.deadlineMs,
      bodyTimeout: request.deadlineMs,
    })
    const answer = await beforeAbort(answering, signal)
    await drain(answer.body)
    return {
      kind: 'answered',
      status: answer.statusCode,
      retryAfter: oneValue(answer.headers['retry-after']),
    }
  } catch (error) {
    if (error instanceof EgressRefusedError) return { kind: 'refused', reason: error.reason }
    if (request.signal?.aborted === true) return { kind: 'failed', error: 'aborted' }
    return { kind: 'failed', error: deadline.aborted ? 'timeout' : failureCodeOf(error) }
  }
}

/** undici looks at the signal only once a socket is there (7.30, measured), so connecting could outlast the deadline. */
function beforeAbort<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    if (signal.aborted) onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}

/**
 * Reads the answer away, so that the socket can serve again; beyond the limit, or when it breaks off, the socket is
 * destroyed. The status is what counts, and it has been said: nothing that a body does changes it.
 */
async function drain(body: Dispatcher.ResponseData['body']): Promise<void> {
  let read = 0
  try {
    for await (const chunk of body) {
      read += (chunk as Buffer).length
      if (read > MAX_ANSWER_BYTES) break
    }
  } catch {
    // cut at the deadline or by the other side
  } finally {
    body.destroy()
  }
}

function oneValue(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' ? header : undefined
}
