/**
 * The names of destinations. The system's resolver (getaddrinfo) holds one of a few threads of the whole process for as
 * long as a name server keeps silent: two such names, and no provider, database or other destination is looked up. So
 * public names are asked over DNS alone, which holds no thread and has an end. What `EGRESS_ALLOW` names are the operator's
 * own (hosts files, container names, search domains), which only the system knows; each has one lookup at a time.
 * Sources: Node.js `dns`, "Implementation considerations"; RFC 1035; RFC 8482 for no query of type ANY.
 */
import { Resolver, lookup as systemLookup } from 'node:dns/promises'
import type { Lookup, ResolvedAddress } from './egress-socket.ts'

/** Of the first try at each name server, in milliseconds; the second takes about twice that. A socket has 10 s. */
const TIMEOUT_MS = 2_500
const TRIES = 2

/** As it comes from the system: whoever waits for a name already is answered with the others. */
export const systemNames: Lookup = oneAtATime((hostname) => systemLookup(hostname, { all: true }))

/**
 * @param timeoutMs of the first try, milliseconds
 * @param servers addresses of name servers, with or without a port; the system's unless given
 * @returns a lookup that rejects with ENOTFOUND when the name has no address, and EAI_AGAIN when nobody could say
 */
export function publicNames(timeoutMs = TIMEOUT_MS, servers?: readonly string[]): Lookup {
  return oneAtATime(async (hostname) => {
    // a new one reads the system's name servers again; sockets are kept, so lookups are rare
    const resolver = new Resolver({ timeout: timeoutMs, tries: TRIES })
    if (servers !== undefined) resolver.setServers(servers)
    const name = hostname.replace(/\.$/, '')
    const answers = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)])
    const found = answers.flatMap((answer, at) =>
      answer.status === 'rejected'
        ? []
        : answer.value.map((address): ResolvedAddress => ({ address, family: at === 0 ? 4 : 6 })),
    )
    if (found.length > 0) return found
    throw Object.assign(new Error('the name has no address'), {
      code: answers.every(isNone) ? 'ENOTFOUND' : 'EAI_AGAIN',
    })
  })
}

/** Whether the name servers said that there is none; anything else is that they did not say. */
const isNone = (answer: PromiseSettledResult<unknown>) =>
  answer.status === 'fulfilled' || ['ENOTFOUND', 'ENODATA'].includes(answer.reason?.code)

function oneAtATime(lookup: Lookup): Lookup {
  const under = new Map<string, Promise<readonly ResolvedAddress[]>>()
  return (hostname) => {
    const running = under.get(hostname)
    if (running !== undefined) return running
    const asked = lookup(hostname).finally(() => under.delete(hostname))
    under.set(hostname, asked)
    return asked
  }
}
