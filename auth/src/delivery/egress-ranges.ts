/**
 * Which IP addresses are public, so that a delivery may go there. Everything else is refused: what is not known to be
 * globally reachable unicast is special. It parses what the resolver and the WHATWG URL parser print, nothing looser.
 * Sources: IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, read 2026), RFC 4291, RFC 6052, RFC 3056.
 */
import { isIPv4, isIPv6 } from 'node:net'

/** @param address an IP address without brackets; anything else is not public */
export function isPublicAddress(address: string): boolean {
  if (isIPv4(address)) return !within(SPECIAL_V4, bytesOfV4(address))
  // A scope id only makes sense for an address that is not public.
  if (!isIPv6(address) || address.includes('%')) return false
  const bytes = bytesOfV6(address)
  return within(UNICAST_V6, bytes) && !within(SPECIAL_V6, bytes) && !isIsatap(bytes)
}

interface Range {
  readonly bytes: readonly number[]
  readonly bits: number
}

const SPECIAL_V4 = [
  '0.0.0.0/8', // this network
  '10.0.0.0/8',
  '100.64.0.0/10', // carrier-grade NAT; also cloud metadata at 100.100.100.200
  '127.0.0.0/8',
  '168.63.129.16/32', // Azure's host agent: a public number that answers inside only
  '169.254.0.0/16', // link-local, cloud metadata
  '172.16.0.0/12',
  '192.0.0.0/24', // protocol assignments; also cloud metadata at 192.0.0.192
  '192.0.2.0/24', // documentation
  '192.31.196.0/24', // AS112
  '192.52.193.0/24', // AMT
  '192.88.99.0/24', // 6to4 relays
  '192.168.0.0/16',
  '192.175.48.0/24', // AS112
  '198.18.0.0/15', // benchmarks
  '198.51.100.0/24', // documentation
  '203.0.113.0/24', // documentation
  '224.0.0.0/4', // multicast
  '240.0.0.0/4', // class E and broadcast
].map(rangeOfV4)

/** The only block that IANA has given out for global unicast: v4-mapped, v4-compatible, NAT64, ULA, … lie outside it. */
const UNICAST_V6 = ['2000::/3'].map(rangeOfV6)

const SPECIAL_V6 = [
  '2001::/23', // protocol assignments: Teredo, ORCHID, benchmarks, AMT …
  '2001:db8::/32', // documentation
  '2002::/16', // 6to4: carries any IPv4 address
  '2620:4f:8000::/48', // AS112
  '3fff::/20', // documentation
].map(rangeOfV6)

/** ISATAP (RFC 5214 §6.1): an interface id that carries any IPv4 address behind a public prefix. */
function isIsatap(bytes: readonly number[]): boolean {
  return (bytes[8] === 0 || bytes[8] === 2) && bytes[9] === 0 && bytes[10] === 0x5e && bytes[11] === 0xfe
}

function within(ranges: readonly Range[], bytes: readonly number[]): boolean {
  return ranges.some((range) => covers(range, bytes))
}

function covers({ bytes: prefix, bits }: Range, bytes: readonly number[]): boolean {
  for (let i = 0; i * 8 < bits; i += 1) {
    const rest = Math.min(8, bits - i * 8)
    const mask = (0xff << (8 - rest)) & 0xff
    if (((bytes[i] ?? 0) & mask) !== ((prefix[i] ?? 0) & mask)) return false
  }
  return true
}

function rangeOfV4(text: string): Range {
  const [address = '', bits = ''] = text.split('/')
  return { bytes: bytesOfV4(address), bits: Number(bits) }
}

function rangeOfV6(text: string): Range {
  const [address = '', bits = ''] = text.split('/')
  return { bytes: bytesOfV6(address), bits: Number(bits) }
}

function bytesOfV4(address: string): number[] {
  return address.split('.').map(Number)
}

function bytesOfV6(address: string): number[] {
  const [head = '', tail] = address.split('::')
  const left = groupsOf(head)
  const right = tail === undefined ? [] : groupsOf(tail)
  const gap = tail === undefined ? 0 : 8 - left.length - right.length
  return [...left, ...new Array<number>(gap).fill(0), ...right].flatMap((group) => [group >> 8, group & 0xff])
}

/** The 16-bit groups of one side of `::`; a dotted IPv4 end counts as two. */
function groupsOf(text: string): number[] {
  if (text === '') return []
  return text.split(':').flatMap((part) => {
    if (!part.includes('.')) return [Number.parseInt(part, 16)]
    const [a = 0, b = 0, c = 0, d = 0] = bytesOfV4(part)
    return [(a << 8) | b, (c << 8) | d]
  })
}
