/**
 * Access and refresh tokens that a provider has handed out, and whether each is still good.
 * Opaque texts only; what a token says about a person stands in the id token, elsewhere.
 */

export interface HeldToken {
  value: string
  account: string
  scopes: readonly string[]
  /** The consent that it goes back to, where the provider tells them apart. */
  grant: string
  issuedAt: number
  expiresAt: number
}

export type TokenLookup =
  | { kind: 'live' | 'expired' | 'revoked' | 'spent'; token: HeldToken }
  | { kind: 'unknown' }

export interface TokenStore {
  addAccess(account: string, scopes: readonly string[], lifetimeMs: number, grant?: string): HeldToken
  addRefresh(account: string, scopes: readonly string[], lifetimeMs: number, grant?: string): HeldToken
  findAccess(value: string): TokenLookup
  findRefresh(value: string): TokenLookup
  /** Ends every token of the account, as a withdrawn consent does. */
  revokeAccount(account: string): void
  /** The newest refresh token of the account, dead or alive. */
  newestRefresh(account: string): HeldToken | null
  /** A refresh token that was used, where the provider rotates strictly. */
  spend(value: string): void
  /** Ends the oldest live refresh tokens of the account beyond `limit`. */
  evictOldest(account: string, limit: number): void
}

interface Entry {
  token: HeldToken
  revoked: boolean
  spent: boolean
}

export interface TokenMint {
  access(): string
  refresh(): string
}

export function createTokenStore(mint: TokenMint, now: () => number): TokenStore {
  const access = new Map<string, Entry>()
  const refresh = new Map<string, Entry>()
  const add = (
    to: Map<string, Entry>,
    value: string,
    account: string,
    scopes: readonly string[],
    lifetimeMs: number,
    grant = '',
  ) => {
    const token = { value, account, scopes, grant, issuedAt: now(), expiresAt: now() + lifetimeMs }
    to.set(value, { token, revoked: false, spent: false })
    return token
  }
  const find = (from: Map<string, Entry>, value: string): TokenLookup => {
    const entry = from.get(value)
    if (entry === undefined) return { kind: 'unknown' }
    if (entry.spent) return { kind: 'spent', token: entry.token }
    if (entry.revoked) return { kind: 'revoked', token: entry.token }
    return { kind: entry.token.expiresAt <= now() ? 'expired' : 'live', token: entry.token }
  }
  const ofAccount = (from: Map<string, Entry>, account: string) =>
    [...from.values()].filter((entry) => entry.token.account === account && !entry.revoked)
  return {
    addAccess: (account, scopes, lifetimeMs, grant) =>
      add(access, mint.access(), account, scopes, lifetimeMs, grant),
    addRefresh: (account, scopes, lifetimeMs, grant) =>
      add(refresh, mint.refresh(), account, scopes, lifetimeMs, grant),
    findAccess: (value) => find(access, value),
    findRefresh: (value) => find(refresh, value),
    revokeAccount(account) {
      for (const entry of [...ofAccount(access, account), ...ofAccount(refresh, account)])
        entry.revoked = true
    },
    newestRefresh: (account) =>
      [...refresh.values()].findLast((entry) => entry.token.account === account)?.token ?? null,
    spend(value) {
      const entry = refresh.get(value)
      if (entry !== undefined) entry.spent = true
    },
    evictOldest(account, limit) {
      const live = ofAccount(refresh, account)
      for (const entry of live.slice(0, Math.max(0, live.length - limit))) entry.revoked = true
    },
  }
}
