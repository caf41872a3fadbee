/**
 * Whose request it is. Behind proxies that the operator named, the last address in `x-forwarded-for` that is none of them
 * (each proxy appends the one it saw); of anybody else that header is not believed. Pure.
 */
import { BlockList, isIP } from 'node:net'

/** `direct`: there is no proxy. undefined: not known, so nothing is judged by address. */
export type TrustedProxies = BlockList | 'direct' | undefined

/** @param value `none`, or addresses and networks separated by commas @returns what is wrong, as the end of a sentence */
export function readProxies(value: string | undefined): { trusted: TrustedProxies } | { wrong: string } {
  if (value === undefined) return { trusted: undefined }
  if (value === 'none') return { trusted: 'direct' }
  const trusted = readAddresses(value)
  return trusted === undefined ? { wrong: `must be none, or ${ADDRESSES}` } : { trusted }
}

/** How such a list is written, for messages. */
export const ADDRESSES = 'addresses and networks (10.0.0.0/8) separated by commas'

/** @returns undefined when one of them is no address */
export function readAddresses(value: string): BlockList | undefined {
  const list = new BlockList()
  for (const entry of value.split(',').map((part) => part.trim())) {
    const [address = '', bits, ...more] = entry.split('/')
    const version = isIP(address)
    const most = version === 6 ? 128 : 32
    const prefix = bits === undefined ? most : /^\d{1,3}$/.test(bits) ? Number(bits) : Number.NaN
    if (version === 0 || more.length > 0 || !(prefix >= 0 && prefix <= most)) return undefined
    list.addSubnet(address, prefix, version === 6 ? 'ipv6' : 'ipv4')
  }
  return list
}

/** @param forwarded every `x-forwarded-for` of the request, in order @returns undefined when nobody can be named */
export function clientAddress(
  trusted: TrustedProxies,
  remote: string | undefined,
  forwarded: readonly string[],
): string | undefined {
  if (trusted === undefined || remote === undefined) return undefined
  const peer = plain(remote)
  if (trusted === 'direct' || !isWithin(trusted, peer)) return peer
  const hops = forwarded.flatMap((value) => value.split(',')).map((hop) => plain(withoutPort(hop.trim())))
  for (const hop of hops.reverse()) {
    if (isIP(hop) === 0) return undefined
    if (!isWithin(trusted, hop)) return hop
  }
  // only our own proxies: a health check
  return undefined
}

export const isWithin = (list: BlockList, address: string): boolean =>
  isIP(address) !== 0 && list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')

/** Some proxies write where the connection came from: `203.0.113.9:4711`, `[2001:db8::7]:4711`. */
function withoutPort(hop: string): string {
  const found = /^(?:\[([^\]]+)\]|(\d+(?:\.\d+){3}))(?::\d{1,5})?$/.exec(hop)
  return found?.[1] ?? found?.[2] ?? hop
}

/** An IPv4 address that came by an IPv6 socket is an IPv4 address. */
const plain = (address: string): string => address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '')

/** Whom a limit counts as one: an IPv6 client is its /64. */
export function networkOf(address: string): string {
  if (isIP(address) !== 6) return address
  const [head = '', tail] = address.toLowerCase().split('%')[0]?.split('::') ?? []
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = Array.from({ length: Math.max(0, 8 - left.length - right.length) }, () => '0')
  const groups = tail === undefined ? left : [...left, ...zeros, ...right]
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`
}
