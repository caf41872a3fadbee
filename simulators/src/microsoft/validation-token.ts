/**
 * The `validationTokens` of notifications with resource data (protocols/microsoft.md §3.2): a JWT for each tenant in the
 * notification, in the form of version 1 or 2, signed by Graph's own publisher. `null` where the tenant was not set up.
 */
import { randomBytes } from 'node:crypto'
import { contosoTenant, fabrikamTenant, personalTenant } from '../accounts.ts'
import { type MicrosoftWorld, templateIssuer } from './world.ts'

const publisher = '0bf30f3b-4a52-48df-9a82-234910c4a086'
const lifetimeSeconds = 24 * 3600

export const tokenForgeries = [
  'noTokens',
  'nullTokens',
  'tokenTenant',
  'tokenPublisher',
  'tokenExpired',
  'tokenAudience',
  'tokenIssuer',
  'tokenKey',
] as const
export type TokenForgery = (typeof tokenForgeries)[number]

/** @param tenants of the items with content; none: no tokens */
export async function validationTokens(
  world: MicrosoftWorld,
  tenants: readonly string[],
  forge: TokenForgery | null,
): Promise<{ validationTokens?: (string | null)[] | null }> {
  if (tenants.length === 0 || forge === 'noTokens') return {}
  if (world.faults.validationTokensAs === 'null') return { validationTokens: null }
  if (forge === 'nullTokens') return { validationTokens: [null] }
  const tokens = [...new Set(tenants)].map((tenant) => token(world, tenant, forge))
  return { validationTokens: await Promise.all(tokens) }
}

async function token(world: MicrosoftWorld, tenant: string, forge: TokenForgery | null): Promise<string> {
  const tid = forge === 'tokenTenant' ? (tenant === contosoTenant ? fabrikamTenant : contosoTenant) : tenant
  const seconds = Math.floor(world.now() / 1000) - (forge === 'tokenExpired' ? 2 * lifetimeSeconds : 0)
  const said = forge === 'tokenPublisher' ? '11111111-4a52-48df-9a82-234910c4a086' : publisher
  const common = {
    aud: forge === 'tokenAudience' ? '22222222-ae3f-4b1e-8790-ee0fb5d6148f' : world.options.clientId,
    iat: seconds,
    nbf: seconds,
    exp: seconds + lifetimeSeconds,
    aio: randomBytes(20).toString('base64url'),
    oid: '1e7d79fa-7893-4d50-bdde-164260d9c5ba',
    sub: '1e7d79fa-7893-4d50-bdde-164260d9c5ba',
    tid,
    uti: randomBytes(16).toString('base64url'),
  }
  const sts = `https://sts.windows.net/${tid}/`
  const form =
    world.faults.validationTokensAs === 'v1'
      ? { iss: sts, idp: sts, appid: said, appidacr: '2', ver: '1.0' }
      : { iss: `${world.origin}/${tid}/v2.0`, azp: said, azpacr: '2', ver: '2.0' }
  const iss = forge === 'tokenIssuer' ? `https://login.example/${tid}/v2.0` : form.iss
  const key = tenant === personalTenant ? personalTenant : templateIssuer
  const signed = await world.keys.sign({ ...common, ...form, iss }, key, {
    foreignKey: forge === 'tokenKey',
  })
  world.issuer.note('microsoft', 'validation_token', signed)
  return signed
}
