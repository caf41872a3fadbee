/**
 * The egress guard: the only way a delivery leaves. Every address that is not public is refused when a destination is
 * saved and again when a socket is opened, unless `EGRESS_ALLOW` names exactly that host, port and path. All answers of
 * the resolver are checked and the socket goes to a checked one, so a name cannot change between check and use. It
 * never follows a redirect, never decompresses, never reads more than 64 KiB, and cannot be switched off.
 * Sources: OWASP SSRF Prevention Cheat Sheet; Standard Webhooks "SSRF"; security.md T27 to T31.
 */
import type { Agent } from 'undici'
import { sha256 } from '../platform/ids.ts'
import { type EgressAllowance, isAllowed, portOf } from './egress-allow.ts'
import type { RefusalReason } from './egress-failure.ts'
import { isPublicAddress } from './egress-ranges.ts'
import { type EgressAnswer, type EgressRequest, send } from './egress-send.ts'
import { agentFor, type Lookup, literalOf } from './egress-socket.ts'
import { publicNames, systemNames } from './name-lookup.ts'

export type { EgressAnswer, EgressRequest, Phases } from './egress-send.ts'
export type { Lookup, ResolvedAddress } from './egress-socket.ts'

export interface EgressNeeds {
  readonly allow: readonly EgressAllowance[]
  /** For public names and allowed ones alike; DNS and the system's resolver unless given. */
  readonly lookup?: Lookup
}

export type EgressVerdict =
  | { readonly kind: 'permitted'; readonly url: string }
  | { readonly kind: 'refused'; readonly reason: RefusalReason }

export interface Egress {
  /** At save. The URL comes back as it will be used: parsed by WHATWG rules, without fragment. */
  check(url: string): Promise<EgressVerdict>
  /** At every attempt: judged again, sent once. Never throws for what the other side does. */
  post(request: EgressRequest): Promise<EgressAnswer>
  close(): Promise<void>
}

/** Destinations with authorities of their own are few; the agent that was used longest ago is closed beyond this. */
const PRIVATE_AGENTS = 64

export function openEgress(needs: EgressNeeds): Egress {
  const names = { public: needs.lookup ?? publicNames(), allowed: needs.lookup ?? systemNames }
  // Two agents, because sockets are kept: one opened for an allowed path must never serve another path of that host.
  const agents = {
    public: agentFor(names.public, true, undefined),
    allowed: agentFor(names.allowed, false, undefined),
  }
  // A socket that was verified by one destination's authority must never serve another destination.
  const privateAgents = new Map<string, Agent>()
  const agentOf = (kind: 'public' | 'allowed', ca: string | undefined): Agent => {
    if (ca === undefined) return agents[kind]
    const key = `${kind}/${sha256(ca).toString('base64url')}`
    const agent = privateAgents.get(key) ?? agentFor(names[kind], kind === 'public', ca)
    privateAgents.delete(key)
    privateAgents.set(key, agent)
    const [oldest] = privateAgents
    if (privateAgents.size > PRIVATE_AGENTS && oldest !== undefined) {
      privateAgents.delete(oldest[0])
      // what is under way on it ends first; nobody waits for that
      oldest[1].close().catch(() => undefined)
    }
    return agent
  }
  return {
    async check(text) {
      const route = routeOf(needs.allow, text)
      if (route.kind === 'refused') return route
      if (route.kind === 'public') {
        const reason = await nameRefusal(names.public, route.url)
        if (reason !== undefined) return { kind: 'refused', reason }
      }
      return { kind: 'permitted', url: route.url.href }
    },
    async post(request) {
      const route = routeOf(needs.allow, request.url)
      if (route.kind === 'refused') return { ...route, phases: { totalMs: 0 } }
      return send(agentOf(route.kind, request.ca), route.url, request)
    },
    async close() {
      await Promise.all(
        [agents.public, agents.allowed, ...privateAgents.values()].map((agent) => agent.destroy()),
      )
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
