/**
 * What the other rooms may use: the contract, `Secret`, the catalogue, and opening the configured providers. The
 * kits in `oauth/` and `webhook/` are for the providers' own folders.
 */
export { type Catalogue, catalogue } from './catalogue.ts'
export type * from './provider.ts'
export { Secret } from './secret.ts'
