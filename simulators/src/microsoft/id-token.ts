/**
 * The id token of Entra v2.0 (protocols/microsoft.md §1.7): issuer of the person's own tenant, pairwise `sub`,
 * stable `oid`. With the switch `idToken` one claim or the signature is wrong.
 */
import { createHash, randomBytes } from 'node:crypto'
import { type MicrosoftAccount, personalTenant } from '../accounts.ts'
import { includesScope } from './scopes.ts'
import { type MicrosoftWorld, templateIssuer } from './world.ts'

export async function createIdToken(
  world: MicrosoftWorld,
  account: MicrosoftAccount,
  scopes: readonly string[],
  nonce: string | null,
): Promise<string> {
  const { clientId } = world.options
  const seconds = Math.floor(world.now() / 1000)
  const overrides = world.faults.idToken ?? {}
  const claims: Record<string, unknown> = {
    aud: overrides.aud ?? clientId,
    iss: overrides.iss ?? `${world.origin}/${account.tid}/v2.0`,
    iat: seconds,
    nbf: seconds,
    exp: seconds + (overrides.exp ?? 3600),
    aio: randomBytes(24).toString('base64url'),
    rh: `0.${randomBytes(12).toString('base64url')}.`,
    sub: overrides.sub ?? createHash('sha256').update(`${clientId}:${account.oid}`).digest('base64url'),
    tid: account.tid,
    uti: randomBytes(16).toString('base64url'),
    ver: '2.0',
  }
  if (includesScope(scopes, 'profile')) {
    Object.assign(claims, { name: account.name, oid: account.oid, preferred_username: account.email })
  }
  if (includesScope(scopes, 'email')) claims.email = account.email
  const sentNonce = overrides.nonce === undefined ? nonce : overrides.nonce
  if (sentNonce !== null) claims.nonce = sentNonce
  const issuer = account.tid === personalTenant ? personalTenant : templateIssuer
  const token = await world.keys.sign(claims, issuer, overrides)
  world.issuer.note('microsoft', 'id_token', token)
  return token
}
