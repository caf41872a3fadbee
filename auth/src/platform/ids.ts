/**
 * Ids, random tokens and hashes, made in one place. Ids are prefixed so that a person knows what he looks at and a
 * type knows what it is given. Never used for secrets that must be verified without a query: see `vault/channel-keys.ts`.
 */
import { hash, randomBytes, timingSafeEqual } from 'node:crypto'

const PREFIXES = {
  con: 'connection',
  flw: 'flow',
  sub: 'subscription',
  ntf: 'notification',
  evt: 'event',
  dst: 'destination',
  dlv: 'delivery',
  rul: 'rule',
  fam: 'session family',
  era: 'erasure',
  crt: 'certificate',
  adm: 'administrator’s consent',
  rtr: 'retry of dead deliveries',
} as const

export type IdPrefix = keyof typeof PREFIXES
export type Id<P extends IdPrefix> = `${P}_${string}`
export type ConnectionId = Id<'con'>
export type FlowId = Id<'flw'>
export type SubscriptionId = Id<'sub'>
export type NotificationId = Id<'ntf'>
export type EventId = Id<'evt'>
export type DestinationId = Id<'dst'>
export type DeliveryId = Id<'dlv'>
export type RuleId = Id<'rul'>

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'
const BODY_LENGTH = 26

/** @returns a new random id: the prefix, `_`, and 130 random bits as 26 base32 characters (RFC 4648 §6, lower case). */
export function newId<P extends IdPrefix>(prefix: P): Id<P> {
  return idFrom(prefix, random(17))
}

/** Like the alphabet, in the order of ASCII: what is later sorts later. */
const ORDERED = '234567abcdefghijklmnopqrstuvwxyz'
const TIME_LENGTH = 10
const TAIL_LENGTH = BODY_LENGTH - TIME_LENGTH
const TAIL_BYTES = 10

/**
 * A new id that begins with its time: rows that are made together lie together in their index, which for a table that
 * grows by thousands a second is the difference between one page and one page each. 80 random bits follow 50 bits of
 * milliseconds. Source of the idea: RFC 9562 §5.7 (UUIDv7).
 */
export function newTimedId<P extends IdPrefix>(prefix: P, at: Date): Id<P> {
  return `${prefix}_${orderedTime(at.getTime())}${base32(random(TAIL_BYTES), TAIL_LENGTH)}`
}

// A group of many rows has one time.
let latest = { ms: Number.NaN, text: '' }

function orderedTime(ms: number): string {
  if (latest.ms !== ms) {
    let text = ''
    let rest = ms
    for (let i = 0; i < TIME_LENGTH; i += 1) {
      text = (ORDERED[rest % 32] ?? '') + text
      rest = Math.floor(rest / 32)
    }
    latest = { ms, text }
  }
  return latest.text
}

/** 2020: what decodes to an earlier time has none. */
const EARLIEST_MS = 1_577_836_800_000
const LATEST_MS = 2 * EARLIEST_MS

/** @returns the time that `newTimedId` was given; undefined for an id that was made without one, nearly always */
export function timeOfId(id: string): Date | undefined {
  const from = id.indexOf('_') + 1
  let ms = 0
  for (const letter of id.slice(from, from + TIME_LENGTH)) ms = ms * 32 + ORDERED.indexOf(letter)
  return ms >= EARLIEST_MS && ms < LATEST_MS ? new Date(ms) : undefined
}

// Random bytes are drawn by the thousand: one system call a request would be seen in the ingest profile.
const POOL_BYTES = 8192
let pool = Buffer.alloc(0)
let poolAt = 0

function random(length: number): Buffer {
  if (poolAt + length > pool.length) {
    pool = randomBytes(POOL_BYTES)
    poolAt = 0
  }
  poolAt += length
  return pool.subarray(poolAt - length, poolAt)
}

/** The same id for the same hash, for ever. @param hash at least 17 bytes */
export function idFrom<P extends IdPrefix>(prefix: P, hash: Buffer): Id<P> {
  return `${prefix}_${base32(hash, BODY_LENGTH)}`
}

/** The first characters of `bytes` in base32; bytes that are missing count as zero. */
function base32(bytes: Buffer, length: number): string {
  let text = ''
  let bits = 0
  let value = 0
  for (let i = 0; text.length < length; i += 1) {
    value = ((value << 8) | (bytes[i] ?? 0)) & 0xffff
    bits += 8
    while (bits >= 5 && text.length < length) {
      bits -= 5
      text += ALPHABET[(value >>> bits) & 31]
    }
  }
  return text
}

/** @returns whether `text` has the shape of an id with this prefix; says nothing about whether it exists. */
export function isId<P extends IdPrefix>(prefix: P, text: string): text is Id<P> {
  return (
    text.length === prefix.length + 1 + BODY_LENGTH &&
    text.startsWith(`${prefix}_`) &&
    /^[a-z2-7]+$/.test(text.slice(prefix.length + 1))
  )
}

/** @returns 256 random bits as 43 base64url characters. */
export function randomToken(): string {
  return randomBytes(32).toString('base64url')
}

export function sha256(input: string | Uint8Array): Buffer {
  // one shot: half the cost of a Hash object, three times for each notification (profiled)
  return hash('sha256', input, 'buffer')
}

/** Constant-time comparison; unequal lengths are simply unequal. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b)
}
