/**
 * The providers that this service knows. A new provider is one folder beside `microsoft/` and `google/` and one
 * line here; nothing else in the system names a provider.
 */
import { google } from './google/index.ts'
import { microsoft } from './microsoft/index.ts'
import type { ProviderModule } from './provider.ts'

/** `settings` types differ from provider to provider; nobody but the module itself looks into them. */
export type Catalogue = Readonly<Record<string, ProviderModule>>

export const catalogue = { microsoft, google } satisfies Catalogue
