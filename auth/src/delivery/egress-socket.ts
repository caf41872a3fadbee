/**
 * The sockets that deliveries leave by. The socket itself looks the name up, and what its lookup returns is what it
 * connects to, so nothing can change between check and use. TLS is always verified: against the public authorities, or
 * against the destination's own ones alone. It knows nothing of HTTP.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { isIP, type LookupFunction, type Socket } from 'node:net'
import { Agent, buildConnector } from 'undici'
import { monotonicMs } from '../platform/clock.ts'
import { EgressRefusedError } from './egress-failure.ts'
import { isPublicAddress } from './egress-ranges.ts'

export interface ResolvedAddress {
  readonly address: string
  readonly family: number
}

/** Every address of a name. Rejects when there is none. */
export type Lookup = (hostname: string) => Promise<readonly ResolvedAddress[]>

/** What making a socket took, in milliseconds; empty while one that was open already serves. */
export interface SocketTimes {
  lookupMs?: number
  connectMs?: number
  tlsMs?: number
}

/** The attempt that a new socket is made for: undici opens sockets inside the call that needs one. */
export const attemptTimes = new AsyncLocalStorage<SocketTimes>()

const CONNECT_MS = 10_000

/** The address in a URL's host, if it is one: no lookup happens for it, so the resolver's check would never see it. */
export function literalOf(hostname: string): string | undefined {
  const bare = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname
  return isIP(bare) === 0 ? undefined : bare
}

/**
 * @param publicOnly refuse every address that is not public, literal or looked up
 * @param ca certificate authorities in PEM that replace the public ones
 */
export function agentFor(lookup: Lookup, publicOnly: boolean, ca: string | undefined): Agent {
  const connect = buildConnector({
    lookup: guardedLookup(lookup, publicOnly),
    timeout: CONNECT_MS,
    allowH2: false,
    // said, not left to the environment: NODE_TLS_REJECT_UNAUTHORIZED=0 would switch it off
    rejectUnauthorized: true,
    ...(ca === undefined ? {} : { ca }),
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
      // declared to return nothing, it returns the socket that it opens
      const socket = connect(servername === '' ? options : { ...options, servername }, callback) as unknown
      time(socket as Socket, options.protocol === 'https:', attemptTimes.getStore())
    },
    pipelining: 1,
    keepAliveTimeout: 4_000,
    keepAliveMaxTimeout: 60_000,
    maxHeaderSize: 16 * 1024,
  })
}

function time(socket: Socket, secure: boolean, times: SocketTimes | undefined): void {
  if (times === undefined) return
  const began = monotonicMs()
  socket.once('connect', () => {
    const connected = monotonicMs()
    // the lookup began inside `connect`, some microseconds before this clock
    times.connectMs = Math.max(0, connected - began - (times.lookupMs ?? 0))
    if (secure)
      socket.once('secureConnect', () => {
        times.tlsMs = monotonicMs() - connected
      })
  })
}

/** One special address among the answers refuses them all. */
function guardedLookup(lookup: Lookup, publicOnly: boolean): LookupFunction {
  return (hostname, options, callback) => {
    const times = attemptTimes.getStore()
    const began = monotonicMs()
    lookup(hostname).then(
      (addresses) => {
        if (times !== undefined) times.lookupMs = monotonicMs() - began
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
