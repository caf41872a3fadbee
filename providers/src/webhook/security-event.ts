/**
 * Security event tokens (RFC 8417) with the events of OpenID's RISC profile: the token is the whole body of the request,
 * signed with the provider's keys, for our client id, without expiry. What it says is told as signals about an account;
 * nobody else's word changes a connection. Answers as documented for Google: 202, or 400 for what is not genuine.
 */
import type { JWTPayload } from 'jose'
import { KEY_PATIENCE_MS, type KeySet } from '../oauth/keys.ts'
import { verifySignedToken } from '../oauth/signed-token.ts'
import type { AccountSignal, Host, NotificationRequest, SignalKind, Verdict } from '../provider.ts'

const RISC = 'https://schemas.openid.net/secevent/risc/event-type/'
const OAUTH = 'https://schemas.openid.net/secevent/oauth/event-type/'

const KINDS: Readonly<Record<string, SignalKind>> = {
  [`${OAUTH}tokens-revoked`]: 'tokens_revoked',
  [`${OAUTH}token-revoked`]: 'token_revoked',
  [`${RISC}sessions-revoked`]: 'sessions_revoked',
  [`${RISC}account-disabled`]: 'account_disabled',
  [`${RISC}account-enabled`]: 'account_enabled',
  [`${RISC}account-credential-change-required`]: 'credential_change_required',
  [`${RISC}verification`]: 'verification',
}

/** Three parts of base64url and nothing else: no JSON and no form begins like this. */
const TOKEN = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/
/** There is no expiry. What is older than we remember ids for could be said a second time. */
const OLDEST_SECONDS = 60 * 24 * 3600

/** @returns the token, if the body of this request is one */
export function securityTokenOf(request: NotificationRequest): string | undefined {
  // a SET has some hundred bytes; ten thousand are more than any
  if (request.body.length > 16 * 1024) return undefined
  const text = request.body.toString('latin1').trim()
  return TOKEN.test(text) ? text : undefined
}

export interface SecurityTokenRule {
  readonly keys: KeySet
  readonly clientId: string
  /** Without a slash at the end, which the sample has and the configuration document has not. */
  readonly isIssuer: (issuer: unknown) => boolean
}

export async function judgeSecurityToken(
  rule: SecurityTokenRule,
  host: Host,
  token: string,
): Promise<Verdict> {
  const now = host.now()
  const verdict = await verifySignedToken(rule.keys, token, now, AbortSignal.timeout(KEY_PATIENCE_MS), {
    expires: false,
  })
  if (verdict.kind === 'unavailable') return verdict
  if (verdict.kind === 'bad') return refused(verdict.reason)
  const { claims } = verdict
  const issuer = typeof claims.iss === 'string' ? claims.iss.replace(/\/$/, '') : undefined
  if (!rule.isIssuer(issuer)) return refused('wrong_issuer')
  if (![claims.aud].flat().includes(rule.clientId)) return refused('wrong_audience')
  if ((claims.iat ?? 0) < now.getTime() / 1000 - OLDEST_SECONDS) return refused('token_of_the_past')
  if (typeof claims.jti !== 'string' || claims.jti === '' || claims.jti.length > 512) return refused('no_jti')
  return { kind: 'signals', status: 202, signals: signalsOf(claims, claims.jti) }
}

function refused(reason: string): Verdict {
  return { kind: 'rejected', status: 400, reason }
}

/** One token has one event by its documentation; if it has several, each is told. What is not known is not told. */
function signalsOf(claims: JWTPayload, jti: string): AccountSignal[] {
  const events = claims.events
  if (typeof events !== 'object' || events === null) return []
  return Object.entries(events).flatMap(([type, event]): AccountSignal[] => {
    const kind = Object.hasOwn(KINDS, type) ? KINDS[type] : undefined
    if (kind === undefined || typeof event !== 'object' || event === null) return []
    const said = event as { subject?: unknown; reason?: unknown; state?: unknown }
    const accountKey = subjectOf(said.subject)
    if (accountKey === undefined && kind !== 'verification') return []
    const detail = kind === 'verification' ? said.state : said.reason
    return [
      {
        id: `${jti} ${type}`,
        kind,
        accountKey,
        detail: typeof detail === 'string' ? detail.slice(0, 200) : undefined,
      },
    ]
  })
}

/** `iss-sub` and `id_token_claims` both carry the account's `sub`; the form that names only a token does not. */
function subjectOf(subject: unknown): string | undefined {
  if (typeof subject !== 'object' || subject === null || !('sub' in subject)) return undefined
  const { sub } = subject
  return typeof sub === 'string' && /^[\x21-\x7e]{1,255}$/.test(sub) ? sub : undefined
}
