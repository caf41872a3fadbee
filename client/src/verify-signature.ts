/**
 * Judges whether a delivery is ours: Standard Webhooks v1, HMAC-SHA256 over the raw body. Never parses the body, so
 * that nothing is done with bytes that are not proven.
 * Source: Standard Webhooks specification 1.0.0, "Signature scheme" and "Verifying webhook authenticity".
 */
import { createHmac, timingSafeEqual } from 'node:crypto'

export interface SignedDelivery {
  /** As `node:http` or `fetch` give them. */
  readonly headers: Headers | Readonly<Record<string, string | readonly string[] | undefined>>
  /** Byte for byte as received: a re-serialized body has another signature. */
  readonly body: Uint8Array | string
}

export type SignatureVerdict =
  /** `id` is the event's id and the same over all attempts: use it to drop repetitions. */
  | { readonly kind: 'genuine'; readonly id: string; readonly sentAt: Date }
  | { readonly kind: 'refused'; readonly reason: SignatureRefusal }

export type SignatureRefusal =
  | 'no_secret'
  | 'header_missing'
  | 'header_malformed'
  | 'too_old'
  | 'too_new'
  | 'wrong_signature'

export interface SignatureOptions {
  readonly now?: Date
  /** Either side of now. Default 300 s. */
  readonly toleranceSeconds?: number
}

const TOLERANCE_SECONDS = 300
const PREFIX = 'whsec_'

/**
 * @param secrets `whsec_…` texts; during a rotation the old and the new one. One match is enough.
 * @throws TypeError when a secret is not base64 of at least 24 bytes: that is a mistake of the configuration
 */
export function verifySignature(
  delivery: SignedDelivery,
  secrets: readonly string[],
  options: SignatureOptions = {},
): SignatureVerdict {
  const keys = secrets.map(keyOf)
  if (keys.length === 0) return refused('no_secret')
  const id = header(delivery, 'webhook-id')
  const timestamp = header(delivery, 'webhook-timestamp')
  const signatures = header(delivery, 'webhook-signature')
  if (id === undefined || timestamp === undefined || signatures === undefined)
    return refused('header_missing')
  if (!/^[A-Za-z0-9_-]{1,128}$/.test(id) || !/^[0-9]{1,12}$/.test(timestamp))
    return refused('header_malformed')

  const sentAt = new Date(Number(timestamp) * 1000)
  const ageSeconds = ((options.now ?? new Date()).getTime() - sentAt.getTime()) / 1000
  const tolerance = options.toleranceSeconds ?? TOLERANCE_SECONDS
  if (ageSeconds > tolerance) return refused('too_old')
  if (ageSeconds < -tolerance) return refused('too_new')

  const presented = signaturesOf(signatures)
  const genuine = keys.some((key) => {
    const expected = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(delivery.body).digest()
    return presented.some((one) => one.length === expected.length && timingSafeEqual(one, expected))
  })
  return genuine ? { kind: 'genuine', id, sentAt } : refused('wrong_signature')
}

function refused(reason: SignatureRefusal): SignatureVerdict {
  return { kind: 'refused', reason }
}

/** A header that occurs twice is not ours: read as malformed by returning a text that no check accepts. */
function header(delivery: SignedDelivery, name: string): string | undefined {
  const { headers } = delivery
  if (headers instanceof Headers) return headers.get(name) ?? undefined
  const found = Object.entries(headers).filter(([key]) => key.toLowerCase() === name)
  const values = found.flatMap(([, value]) => value ?? [])
  return values.length > 1 ? values.join(', ') : values[0]
}

/** The v1 entries of a space-separated list; entries of other versions are somebody else's. */
function signaturesOf(list: string): Buffer[] {
  return list
    .split(' ')
    .slice(0, 16)
    .filter((entry) => /^v1,[A-Za-z0-9+/]{43}=$/.test(entry))
    .map((entry) => Buffer.from(entry.slice(3), 'base64'))
}

function keyOf(secret: string): Buffer {
  const text = secret.startsWith(PREFIX) ? secret.slice(PREFIX.length) : secret
  const key = Buffer.from(text, 'base64')
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text) || key.length < 24) {
    throw new TypeError('a signing secret is whsec_ followed by base64 of 24 bytes or more')
  }
  return key
}
