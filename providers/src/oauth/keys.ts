/**
 * The signing keys of a provider (JWKS, RFC 7517) as `jose` keys: fetched once for all who wait, kept while
 * fresh, and used up to a day beyond when the provider cannot be reached: a known key hardly waits for it. An unknown
 * `kid` asks again, at most once per 30 s, so that a flood of invented ones costs nothing. It never takes a key from a token.
 */
import { type CryptoKey, importJWK, type JWK } from 'jose'
import { jsonOf, send } from '../http-answer.ts'
import type { Host, Json } from '../provider.ts'
import { isArray, isObject, member, textMember } from '../webhook/hostile-json.ts'

export type KeyLookup =
  | { readonly kind: 'found'; readonly key: CryptoKey; readonly issuer: string | undefined }
  /** The provider was asked and does not have it. */
  | { readonly kind: 'unknown' }
  /** The provider could not be asked. */
  | { readonly kind: 'unavailable' }

export interface KeySet {
  /** @param signal how long this caller waits; the shared request goes on for the others. */
  find(kid: string, signal: AbortSignal): Promise<KeyLookup>
}

const FRESH_MS = 60 * 60 * 1000
const USABLE_MS = 24 * 60 * 60 * 1000
const REFETCH_PAUSE_MS = 30 * 1000
/** Without any usable key every token is undecidable: ask sooner. */
const REFETCH_PAUSE_WITHOUT_KEYS_MS = 2 * 1000
const FETCH_DEADLINE_MS = 5 * 1000
/**
 * So long from the beginning of a request a known key waits for it: a provider that is well has answered by then, and what
 * it has withdrawn is seen at once; one that hangs holds nothing up.
 */
const KNOWN_KEY_WAITS_MS = 200
/** How long a notification may wait for a key: of the two seconds to its answer the rest is for storing it. */
export const KEY_PATIENCE_MS = 1_500
const KEY_LIMIT = 64
/** RFC 7518 §3.3: 2,048 bits or more. */
const SHORTEST_MODULUS_BYTES = 256

type Keys = ReadonlyMap<string, { readonly key: CryptoKey; readonly issuer: string | undefined }>

export function remoteKeys(host: Host, url: string): KeySet {
  let keys: Keys = new Map()
  let fetchedAt = Number.NEGATIVE_INFINITY
  let attemptedAt = Number.NEGATIVE_INFINITY
  let lastAttemptFailed = false
  let running: { readonly end: Promise<void>; readonly endOrShortly: Promise<void> } | undefined

  const age = (since: number) => host.now().getTime() - since
  const isUsable = () => age(fetchedAt) < USABLE_MS
  const usableKey = (kid: string) => (isUsable() ? keys.get(kid) : undefined)

  const refetch = () => {
    if (running !== undefined) return running
    const end = fetchKeys(host, url).then((fetched) => {
      running = undefined
      // Counted from the end, or a slow answer would eat up the pause.
      attemptedAt = host.now().getTime()
      lastAttemptFailed = fetched === undefined
      if (fetched === undefined) return
      keys = fetched
      fetchedAt = attemptedAt
    })
    running = { end, endOrShortly: untilAborted(end, AbortSignal.timeout(KNOWN_KEY_WAITS_MS)) }
    return running
  }

  return {
    async find(kid, signal) {
      const wanted = age(fetchedAt) >= FRESH_MS || !keys.has(kid)
      const pause = isUsable() ? REFETCH_PAUSE_MS : REFETCH_PAUSE_WITHOUT_KEYS_MS
      if (wanted && (running !== undefined || age(attemptedAt) >= pause)) {
        const { end, endOrShortly } = refetch()
        await untilAborted(usableKey(kid) === undefined ? end : endOrShortly, signal)
      }

      const found = usableKey(kid)
      if (found !== undefined) return { kind: 'found', ...found }
      return isUsable() && !lastAttemptFailed && running === undefined
        ? { kind: 'unknown' }
        : { kind: 'unavailable' }
    },
  }
}

/** Where one provider publishes its keys in two places: what the first does not have, the second may. */
export function eitherKeys(first: KeySet, second: KeySet): KeySet {
  return {
    async find(kid, signal) {
      const found = await first.find(kid, signal)
      if (found.kind === 'found') return found
      const other = await second.find(kid, signal)
      // unknown only when both were asked
      return other.kind === 'found' || found.kind === 'unknown' ? other : found
    },
  }
}

/** @returns undefined when the provider gave no usable key set. Never rejects. */
async function fetchKeys(host: Host, url: string): Promise<Keys | undefined> {
  const outcome = await send(host, { method: 'GET', url, signal: AbortSignal.timeout(FETCH_DEADLINE_MS) })
  if (outcome.kind === 'failed' || outcome.answer.status !== 200) return undefined
  const entries = member(jsonOf(outcome.answer), 'keys')
  if (!isArray(entries)) return undefined
  const keys = new Map<string, { key: CryptoKey; issuer: string | undefined }>()
  for (const entry of entries.slice(0, KEY_LIMIT)) {
    const kid = textMember(entry, 'kid')
    const key = await importRsaKey(entry)
    if (kid !== undefined && key !== undefined) keys.set(kid, { key, issuer: textMember(entry, 'issuer') })
  }
  return keys.size === 0 ? undefined : keys
}

async function importRsaKey(entry: Json): Promise<CryptoKey | undefined> {
  if (!isObject(entry) || entry.kty !== 'RSA' || (entry.use ?? 'sig') !== 'sig') return undefined
  if ((entry.alg ?? 'RS256') !== 'RS256') return undefined
  const modulus = textMember(entry, 'n') ?? ''
  if (Buffer.from(modulus, 'base64url').length < SHORTEST_MODULUS_BYTES) return undefined
  const jwk: JWK = {
    kty: 'RSA',
    alg: 'RS256',
    n: modulus,
    e: textMember(entry, 'e') ?? '',
  }
  try {
    const key = await importJWK(jwk, 'RS256')
    return key instanceof Uint8Array ? undefined : key
  } catch {
    return undefined
  }
}

/** Waits for `work` or the end of `signal`, whichever is first; `work` itself goes on. */
function untilAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const done = () => {
      signal.removeEventListener('abort', done)
      resolve()
    }
    signal.addEventListener('abort', done)
    void work.then(done, done)
  })
}
