/**
 * Compares the scopes asked for with those granted. Providers answer in another order and spelling than they were
 * asked in, so both sides pass through the provider's `canonical`; what is reported is our own spelling. Pure.
 */

/** Always asked for, so that the account is known (OpenID Connect Core §5.4). */
export const IDENTITY_SCOPES = ['openid', 'email', 'profile'] as const

/** @returns `scopes` with `always` added, each once, in a stable order. */
export function withScopes(scopes: readonly string[], always: readonly string[]): readonly string[] {
  return [...new Set([...always, ...scopes])]
}

export interface ScopeGrant {
  readonly granted: readonly string[]
  readonly missing: readonly string[]
}

export function compareScopes(
  asked: readonly string[],
  answered: string | undefined,
  rule: {
    readonly canonical: (scope: string) => string
    /** Canonical scopes that are granted or not by other signs than the answer's `scope`. */
    readonly known?: ReadonlyMap<string, boolean>
  },
): ScopeGrant {
  // RFC 6749 §5.1: no `scope` in the answer means exactly what was asked.
  const answers = answered === undefined ? asked : answered.split(' ').filter((scope) => scope !== '')
  const canonical = new Set(answers.map(rule.canonical))
  for (const [scope, granted] of rule.known ?? []) {
    if (granted) canonical.add(scope)
    else canonical.delete(scope)
  }
  const ours = new Map(asked.map((scope) => [rule.canonical(scope), scope]))
  return {
    granted: [...canonical].map((scope) => ours.get(scope) ?? scope),
    missing: asked.filter((scope) => !canonical.has(rule.canonical(scope))),
  }
}
