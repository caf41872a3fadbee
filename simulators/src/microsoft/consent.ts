/**
 * Who has consented to what: a person for himself, an administrator for the tenant, and the rule that only the
 * latter may (protocols/microsoft.md §1.3). It answers no request.
 */
import { personalTenant } from '../accounts.ts'
import { findFailure } from './failure-rows.ts'
import { openidScopes } from './scopes.ts'
import type { StsFailure } from './sts-error.ts'
import { findMicrosoftAccount, type MicrosoftWorld } from './world.ts'

export function addConsent(world: MicrosoftWorld, account: string, scopes: readonly string[]): void {
  const consented = world.consents.get(account) ?? new Map<string, string>()
  for (const scope of scopes) consented.set(scope.toLowerCase(), scope)
  world.consents.set(account, consented)
}

/**
 * The person withdraws the consent (protocols/microsoft.md §1.8): access tokens live on until they expire, and
 * no refresh token is good for a new one.
 */
export function withdrawConsent(world: MicrosoftWorld, account: string): void {
  world.consents.delete(account)
}

export function consentedScopes(world: MicrosoftWorld, account: string): string[] {
  return [...(world.consents.get(account)?.values() ?? [])]
}

/** Whether each scope stands in the person's own consent or in the tenant's; without any, nothing is covered. */
export function consentCovers(world: MicrosoftWorld, account: string, scopes: readonly string[]): boolean {
  const own = world.consents.get(account)
  const tenant = world.tenantConsents.get(findMicrosoftAccount(account)?.tid ?? '')
  if (own === undefined && tenant === undefined) return false
  return scopes.every(
    (scope) =>
      own?.has(scope.toLowerCase()) ||
      tenantCovers(world, account, scope) ||
      (tenant !== undefined && openidScopes.includes(scope.toLowerCase())),
  )
}

/** Refusal of the `requireAdmin` switch at this place, unless an administrator asks or has consented. */
export function adminRefusal(
  world: MicrosoftWorld,
  account: string,
  scopes: readonly string[],
  at: 'callback' | 'page' | 'token',
): StsFailure | null {
  const rule = world.faults.requireAdmin
  const person = findMicrosoftAccount(account)
  if (rule === null || rule.at !== at || person === undefined) return null
  if (person.tid === personalTenant || person.admin === true) return null
  const restricted = rule.scopes?.map((scope) => scope.toLowerCase()) ?? null
  const blocked = scopes.some(
    (scope) =>
      !openidScopes.includes(scope.toLowerCase()) &&
      (restricted === null || restricted.includes(scope.toLowerCase())) &&
      !tenantCovers(world, account, scope),
  )
  const failure = blocked ? findFailure(`AADSTS${rule.code}`) : null
  if (failure === null || at === 'token') return failure
  return { ...failure, error: rule.error, suberror: undefined }
}

function tenantCovers(world: MicrosoftWorld, account: string, scope: string): boolean {
  const tid = findMicrosoftAccount(account)?.tid ?? ''
  const granted = world.tenantConsents.get(tid)
  return granted !== undefined && (granted.has('.default') || granted.has(scope.toLowerCase()))
}
