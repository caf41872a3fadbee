/**
 * Scopes as Entra reads and spells them (protocols/microsoft.md §1.4): short or fully qualified, Graph when no
 * resource is named, one resource per token. It grants nothing by itself.
 */

export const graphResource = 'https://graph.microsoft.com/'
export const openidScopes: readonly string[] = ['openid', 'profile', 'email', 'offline_access']

export type ScopeReading =
  | { kind: 'read'; scopes: string[]; resources: string[] }
  | { kind: 'empty' }
  | { kind: 'default_mixed' }

/** Splits, drops repetitions, and takes Graph's own address off, also under the simulator's origin. */
export function readScopes(value: string | undefined, origin: string): ScopeReading {
  const given = (value ?? '').split(' ').filter((scope) => scope !== '')
  if (given.length === 0) return { kind: 'empty' }
  const scopes = [...new Set(given.map((scope) => shorten(scope, origin)))]
  const ofGraph = scopes.filter((scope) => !openidScopes.includes(scope.toLowerCase()))
  const defaults = ofGraph.filter((scope) => scope.endsWith('.default'))
  if (defaults.length > 0 && ofGraph.length > defaults.length) return { kind: 'default_mixed' }
  return { kind: 'read', scopes, resources: [...new Set(ofGraph.map(resourceOf))] }
}

/** `https://graph.microsoft.com/offline_access` is no OpenID scope (pitfall 10): only the bare word is. */
function shorten(scope: string, origin: string): string {
  for (const resource of [graphResource, `${origin}/`]) {
    if (scope.toLowerCase().startsWith(resource.toLowerCase())) {
      const rest = scope.slice(resource.length)
      return openidScopes.includes(rest.toLowerCase()) ? scope : rest
    }
  }
  return scope
}

function resourceOf(scope: string): string {
  return URL.canParse(scope) ? new URL(scope).origin : graphResource
}

/**
 * The answer's spelling: OpenID scopes bare, never `offline_access`; the others fully qualified as captured, or
 * short as Microsoft's own client expects too (§1.4).
 */
export function spellScopes(scopes: readonly string[], spelling: 'qualified' | 'short'): string {
  const bare = scopes.filter(
    (scope) => openidScopes.includes(scope.toLowerCase()) && scope !== 'offline_access',
  )
  const others = scopes.filter((scope) => !openidScopes.includes(scope.toLowerCase())).sort()
  if (spelling === 'short') return [...bare.sort().reverse(), ...others].join(' ')
  return [
    ...bare.sort(),
    ...others.map((scope) => (URL.canParse(scope) ? scope : graphResource + scope)),
  ].join(' ')
}

/** Of `asked`, the OpenID scopes and what is also in `allowed`; everything when `allowed` is `null`. */
export function keepScopes(
  asked: readonly string[],
  allowed: readonly string[] | null,
  origin: string,
): string[] {
  if (allowed === null) return [...asked]
  const reading = readScopes(allowed.join(' '), origin)
  const kept = reading.kind === 'read' ? reading.scopes : []
  return asked.filter((scope) => openidScopes.includes(scope.toLowerCase()) || includesScope(kept, scope))
}

export function includesScope(scopes: Iterable<string>, wanted: string): boolean {
  for (const scope of scopes) if (scope.toLowerCase() === wanted.toLowerCase()) return true
  return false
}

const labels: Record<string, string> = {
  openid: 'Sign you in',
  profile: 'View your basic profile',
  email: 'View your email address',
  offline_access: 'Maintain access to data you have given it access to',
  'mail.read': 'Read your mail',
  'mail.readwrite': 'Read and write your mail',
  'mail.send': 'Send mail as you',
  'files.readwrite.all': 'Have full access to all files you have access to',
  'calendars.read': 'Read your calendars',
  'calendars.readwrite': 'Have full access to your calendars',
  'user.read': 'Sign you in and read your profile',
}

export function describeScope(scope: string): string {
  return labels[scope.toLowerCase()] ?? 'Use this permission'
}
