/**
 * Reads the settings of all providers of a catalogue and opens those that are configured. All mistakes of all
 * providers are reported together. It reads no environment itself and keeps nothing.
 */
import type { Catalogue } from '../src/catalogue.ts'
import type { Environment, Host, Provider } from '../src/provider.ts'

export type OpenedProviders =
  | {
      readonly kind: 'opened'
      readonly providers: ReadonlyMap<string, Provider>
      /** Ids of providers without a client id. */
      readonly off: readonly string[]
    }
  | { readonly kind: 'invalid'; readonly mistakes: readonly string[] }

export function openProviders(
  modules: Catalogue,
  environment: Environment,
  mode: 'production' | 'local',
  host: Host,
): OpenedProviders {
  const mistakes: string[] = []
  const off: string[] = []
  const providers = new Map<string, Provider>()
  for (const [name, module] of Object.entries(modules)) {
    if (module.id !== name)
      throw Object.assign(new Error(`catalogue entry ${name} has id ${module.id}`), { code: 'catalogue_id' })
    const reading = module.readSettings(environment, mode)
    if (reading.kind === 'off') off.push(module.id)
    else if (reading.kind === 'invalid') mistakes.push(...reading.mistakes)
    else providers.set(module.id, module.open(reading.settings, host))
  }
  return mistakes.length > 0 ? { kind: 'invalid', mistakes } : { kind: 'opened', providers, off }
}
