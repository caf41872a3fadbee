/**
 * The platform's public keys (JWKS, RFC 7517 §5) from the one configured URL. Read again after ten minutes and for an
 * unknown key id, at most once in 30 s; while the URL does not answer, the last known keys serve for a day. Never takes
 * a key or an address from a token.
 */
import {
  createLocalJWKSet,
  errors,
  type JSONWebKeySet,
  type JWSHeaderParameters,
  type JWTVerifyGetKey,
} from 'jose'
import { monotonicMs } from '../platform/clock.ts'
import { withDeadline } from '../platform/deadline.ts'

/** The keys were never read, or not for a day. */
export class SessionKeysUnavailable extends Error {
  readonly code = 'session_keys_unavailable'
  readonly safe = true
}

const FRESH_MS = 10 * 60_000
const USABLE_MS = 24 * 60 * 60_000
const PAUSE_MS = 30_000
const FETCH_MS = 5_000
const BODY_LIMIT = 256 * 1024

type LocalKeys = ReturnType<typeof createLocalJWKSet>

export function openSessionKeys(fetcher: typeof fetch, url: string): JWTVerifyGetKey {
  let keys: LocalKeys | undefined
  let readAt = Number.NEGATIVE_INFINITY
  let triedAt = Number.NEGATIVE_INFINITY
  let reading: Promise<void> | undefined

  const read = () => {
    reading ??= readKeys(fetcher, url)
      .then((found) => {
        triedAt = monotonicMs()
        if (found === undefined) return
        keys = found
        readAt = triedAt
      })
      .finally(() => {
        reading = undefined
      })
    return reading
  }
  const mayTry = () =>
    reading !== undefined || monotonicMs() - triedAt > (keys === undefined ? 2_000 : PAUSE_MS)

  return async (header, token) => {
    if ((keys === undefined || monotonicMs() - readAt > FRESH_MS) && mayTry()) await read()
    const found = await pick(usable(keys, readAt), header, token)
    if (found !== undefined) return found
    if (mayTry()) await read()
    const again = await pick(usable(keys, readAt), header, token)
    if (again === undefined) throw new errors.JWKSNoMatchingKey()
    return again
  }
}

function usable(keys: LocalKeys | undefined, readAt: number): LocalKeys {
  if (keys === undefined || monotonicMs() - readAt > USABLE_MS)
    throw new SessionKeysUnavailable('the keys at SESSION_JWKS_URL cannot be read')
  return keys
}

async function pick(keys: LocalKeys, header: JWSHeaderParameters, token: Parameters<LocalKeys>[1]) {
  try {
    // only what selects a key: members of the header that carry or name one are left out
    const { alg, kid } = header
    return await keys({ ...(alg === undefined ? {} : { alg }), ...(kid === undefined ? {} : { kid }) }, token)
  } catch (error) {
    if (error instanceof errors.JWKSNoMatchingKey) return undefined
    throw error
  }
}

/** @returns undefined when the URL gave no usable key set. Never rejects. */
async function readKeys(fetcher: typeof fetch, url: string): Promise<LocalKeys | undefined> {
  try {
    const inTime = await withDeadline(FETCH_MS, undefined, async (signal) => {
      const response = await fetcher(url, {
        redirect: 'error',
        signal,
        headers: { accept: 'application/json' },
      })
      const text = await response.text()
      return response.status === 200 && text.length <= BODY_LIMIT ? text : undefined
    })
    if (inTime.kind === 'late' || inTime.value === undefined) return undefined
    return createLocalJWKSet(JSON.parse(inTime.value) as JSONWebKeySet)
  } catch {
    return undefined
  }
}
