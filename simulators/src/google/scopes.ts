/**
 * Scopes as Google reads and spells them (protocols/google.md §1.4): aliases are spelled out in the answer,
 * the order differs from the request, `openid` may come unasked. It grants nothing by itself.
 */

const userinfo = 'https://www.googleapis.com/auth/userinfo.'

/** The canonical spelling: `email` and `profile` become full URLs. */
export function canonicalScope(scope: string): string {
  return scope === 'email' || scope === 'profile' ? userinfo + scope : scope
}

export function readScopes(value: string | undefined): string[] {
  const given = (value ?? '').split(' ').filter((scope) => scope !== '')
  return [...new Set(given.map(canonicalScope))]
}

export function isKnownScope(scope: string): boolean {
  return (
    scope === 'openid' ||
    scope === 'https://mail.google.com/' ||
    /^https:\/\/www\.googleapis\.com\/auth\/[a-z0-9._-]+$/.test(scope)
  )
}

export function isIdentityScope(scope: string): boolean {
  return scope === 'openid' || scope.startsWith(userinfo)
}

/** As Google tells what was granted: URLs first, sorted, `openid` last and added when identity is granted. */
export function spellScopes(scopes: Iterable<string>): string[] {
  const all = new Set(scopes)
  const urls = [...all].filter((scope) => scope !== 'openid').sort()
  return [...all].some(isIdentityScope) ? [...urls, 'openid'] : urls
}

export function grantsEmail(scopes: readonly string[]): boolean {
  return scopes.includes(`${userinfo}email`)
}

export function grantsProfile(scopes: readonly string[]): boolean {
  return scopes.includes(`${userinfo}profile`)
}

const gmailScopes = ['gmail.modify', 'gmail.readonly', 'gmail.metadata']

/** Scopes that open watch, stop and history (protocols/google.md §3). */
export function opensGmail(scopes: readonly string[]): boolean {
  return scopes.some(
    (scope) =>
      scope === 'https://mail.google.com/' ||
      gmailScopes.some((name) => scope === `https://www.googleapis.com/auth/${name}`),
  )
}

const inApis = (names: readonly string[]) => (scopes: readonly string[]) =>
  scopes.some((scope) => names.some((name) => scope === `https://www.googleapis.com/auth/${name}`))

export const opensDrive = inApis([
  'drive',
  'drive.readonly',
  'drive.metadata',
  'drive.metadata.readonly',
  'drive.file',
])
export const opensCalendar = inApis([
  'calendar',
  'calendar.readonly',
  'calendar.events',
  'calendar.events.readonly',
])

const labels: Record<string, string> = {
  'userinfo.email': 'See your primary Google Account email address',
  'userinfo.profile': 'See your personal info',
  'gmail.readonly': 'View your email messages and settings',
  'gmail.modify': 'Read, compose, and send emails',
  drive: 'See, edit, create, and delete all of your Google Drive files',
  calendar: 'See, edit, share, and delete all your calendars',
}

export function describeScope(scope: string): string {
  return labels[scope.slice(scope.lastIndexOf('/') + 1)] ?? 'Use this permission'
}
