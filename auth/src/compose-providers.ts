/** Opens the providers that are switched on, each with the pace that all processes keep together at its API. */
import type { Provider } from '@flovify/providers'
import type { Config } from './config.ts'
import type { Db } from './db/sql.ts'
import { listTurns, openCallPace } from './subscriptions/call-pace.ts'
import { openCallPlaces } from './subscriptions/call-places.ts'

export async function composeProviders(
  config: Config,
  parts: { readonly db: Db; readonly now: () => Date; readonly monotonicMs: () => number },
): Promise<ReadonlyMap<string, Provider>> {
  const modules = config.providers.map(({ module }) => module)
  const callOf = await openCallPace({ db: parts.db, fetch, monotonicMs: parts.monotonicMs }, modules)
  return new Map(
    config.providers.map(({ module, settings }) => [
      module.id,
      module.open(settings, { fetch, call: callOf(module.id), now: parts.now }),
    ]),
  )
}

/** What else bounds calls about subscriptions: at once for one connection, and lists. */
export const composeCalls = (db: Db, monotonicMs: () => number) => ({
  calls: openCallPlaces(),
  listTurn: listTurns({ db, monotonicMs }),
})
