/**
 * Judges the `validationTokens` of a notification (protocols/microsoft.md §3.2): one JWT for each tenant in it, signed with
 * the identity platform's keys, for our app, by Graph's own publisher. Each item with content needs the token of its own
 * tenant; a token for one tenant says nothing about another. Without a token nothing is proven. One whose key is not known
 * is to be repeated, not refused: its item is proven by `ref` and clientState, and the key may be minutes old.
 */
import type { JWTPayload } from 'jose'
import { eitherKeys, KEY_PATIENCE_MS, remoteKeys } from '../../oauth/keys.ts'
import { verifySignedToken } from '../../oauth/signed-token.ts'
import type { Host, Json, Verdict } from '../../provider.ts'
import { isArray } from '../../webhook/hostile-json.ts'
import { GUID } from '../oauth.ts'
import type { MicrosoftSettings } from '../settings.ts'

/** The application that is Microsoft Graph Change Tracking, in every tenant [RD26]. */
const PUBLISHER = '0bf30f3b-4a52-48df-9a82-234910c4a086'
/** Issuer of tokens of version 1. */
const STS = 'https://sts.windows.net'
/** One for each tenant of a notification; more than this nobody sends to one address. */
const MOST_TOKENS = 64

export type Vouching =
  | { readonly kind: 'vouched' }
  | { readonly kind: 'refused'; readonly reason: string }
  | Undecided

/** The keys cannot be reached, or do not have the one that signed: to be repeated. */
type Undecided = Extract<Verdict, { readonly kind: 'unavailable' }>

/** @returns whether a token of that tenant came with the notification; they are verified when first asked for */
export type Vouchers = (tenant: string | undefined) => Promise<Vouching>

type TokenVerdict =
  | { readonly kind: 'genuine'; readonly tenant: string }
  | { readonly kind: 'bad'; readonly reason: string }
  | Undecided

/** @returns a reader of the `validationTokens` member of a notification */
export function validationTokens(
  settings: MicrosoftSettings,
  host: Host,
): (tokens: Json | undefined) => Vouchers {
  // both places are documented, for tokens of either version
  const keys = eitherKeys(
    remoteKeys(host, `${settings.loginUrl}/common/discovery/v2.0/keys`),
    remoteKeys(host, `${settings.loginUrl}/common/discovery/keys`),
  )
  const judge = async (token: Json): Promise<TokenVerdict> => {
    if (typeof token !== 'string') return { kind: 'bad', reason: 'null_validation_token' }
    const verdict = await verifySignedToken(keys, token, host.now(), AbortSignal.timeout(KEY_PATIENCE_MS))
    if (verdict.kind === 'genuine') return judgeClaims(settings, verdict.claims, verdict.keyIssuer)
    // acknowledged it would be lost; a stranger has no clientState and does not get this far
    return verdict.kind === 'bad' && verdict.reason === 'unknown_key'
      ? { kind: 'unavailable', reason: verdict.reason, rejected: [verdict.reason] }
      : verdict
  }
  return (tokens) => {
    let verdicts: Promise<readonly TokenVerdict[]> | undefined
    return async (tenant) => {
      if (!isArray(tokens) || tokens.length === 0) return refused('no_validation_token')
      if (tokens.length > MOST_TOKENS) return refused('too_many_validation_tokens')
      verdicts ??= Promise.all(tokens.map(judge))
      return vouchingFor(tenant, await verdicts)
    }
  }
}

function vouchingFor(tenant: string | undefined, verdicts: readonly TokenVerdict[]): Vouching {
  const wanted = tenant?.toLowerCase()
  if (verdicts.some((verdict) => verdict.kind === 'genuine' && verdict.tenant === wanted))
    return { kind: 'vouched' }
  // the one that cannot be judged may be the one that is needed
  const undecided = verdicts.find((verdict) => verdict.kind === 'unavailable')
  if (undecided !== undefined) return undecided
  return refused(verdicts.find((verdict) => verdict.kind === 'bad')?.reason ?? 'token_of_another_tenant')
}

function refused(reason: string): Vouching {
  return { kind: 'refused', reason }
}

/** Both issuer forms, and a key only for the issuer that the key set allows it [AT]. */
function judgeClaims(
  { loginUrl, clientId }: MicrosoftSettings,
  { tid, iss, aud, azp, appid }: JWTPayload,
  keyIssuer: string | undefined,
): TokenVerdict {
  if (typeof tid !== 'string' || !GUID.test(tid) || iss === undefined)
    return { kind: 'bad', reason: 'wrong_issuer' }
  const issuers = [`${STS}/${tid}/`, `${loginUrl}/${tid}/v2.0`]
  const mayIssue = keyIssuer === undefined || issuers.includes(keyIssuer.replace('{tenantid}', tid))
  if (!issuers.includes(iss) || !mayIssue) return { kind: 'bad', reason: 'wrong_issuer' }
  if (aud !== clientId) return { kind: 'bad', reason: 'wrong_audience' }
  // version 2 says it in `azp`, version 1 in `appid`: whatever is said must be this one
  const publishers = [azp, appid].filter((said) => said !== undefined)
  if (publishers.length === 0 || !publishers.every((said) => said === PUBLISHER))
    return { kind: 'bad', reason: 'wrong_publisher' }
  return { kind: 'genuine', tenant: tid.toLowerCase() }
}
