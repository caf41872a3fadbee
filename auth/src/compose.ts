/**
 * The one place where the parts meet. It opens pools, keys, providers, rooms and doors in the order in which they need
 * one another, and closes them in the opposite one: doors first, then what is in flight, then the pools.
 */
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Host, Provider } from '@flovify/providers'
import type { Config } from './config.ts'
import { openPlatformJwt } from './connections/platform-jwt.ts'
import { openFailureReport } from './connections/refresh-failure.ts'
import { openRefreshLimits } from './connections/refresh-limits.ts'
import { callerOfSession } from './connections/sessions.ts'
import { openTokenReader } from './connections/token-read.ts'
import { openPool, type Pool, type PoolOptions } from './db/pool.ts'
import { openReadiness } from './db/readiness.ts'
import { openDestinations } from './delivery/destinations.ts'
import { openEgress } from './delivery/egress.ts'
import { openHistory } from './delivery/history-store.ts'
import { openCallbackDoor } from './http/callback-route.ts'
import { buildInternalServer } from './http/internal-server.ts'
import { buildPublicServer } from './http/public-server.ts'
import { publicEndpoints, routeTable } from './http/routes.ts'
import { openIngest } from './ingest/receive.ts'
import { openLedger } from './ledger/ledger.ts'
import { monotonicMs, systemClock } from './platform/clock.ts'
import { errorFields, type Log } from './platform/log.ts'
import { openMetrics } from './platform/metrics.ts'
import { openRuleBook } from './routing/rule-book.ts'
import { openRules } from './routing/rules.ts'
import { openLookup } from './subscriptions/lookup.ts'
import { openSubscriptions } from './subscriptions/subscriptions.ts'
import { openTouch } from './subscriptions/touch.ts'
import { openChannelKeys } from './vault/channel-keys.ts'
import { loadKeyRing } from './vault/store.ts'
import { openVault } from './vault/vault.ts'
import { readBacklog } from './work/backlog-store.ts'
import { plantChores } from './work/chores.ts'
import { openWorker } from './work/work.ts'
import { choreTable, workTable } from './work-table.ts'

export interface Service {
  readonly publicPort: number
  readonly internalPort: number
  /** Stops accepting, finishes what is in flight within `graceMs`, closes the pools. */
  stop(graceMs: number): Promise<void>
}

/** @throws errors with `safe` messages for the operator when keys, database or ports cannot be used */
export async function compose(config: Config, { log }: { log: Log }): Promise<Service> {
  const pools = openPools(config.databaseUrl, log)
  try {
    return await composeOn(config, pools, log)
  } catch (error) {
    await closePools(pools)
    throw error
  }
}

async function composeOn(config: Config, pools: Pools, log: Log): Promise<Service> {
  const clock = systemClock()
  const metrics = openMetrics()
  const readiness = await openReadiness({ db: pools.reads, clock, mode: config.mode, log })
  const ring = await loadKeyRing(pools.work, config.keys)
  const vault = openVault(ring)
  const channelKeys = openChannelKeys(ring)
  const providers = openProviders(config, { fetch, now: () => clock.now() })
  const provider = (id: string) => providers.get(id)

  const book = await openRuleBook(pools.ingest)
  const rules = openRules({ db: pools.work, book })
  const ledger = openLedger({
    rules: book,
    clock,
    naming: { typePrefix: config.typePrefix, origin: config.webhookOrigin },
  })
  const egress = openEgress({ allow: config.egressAllow })
  const destinations = openDestinations({
    db: pools.work,
    vault,
    egress,
    rules: { disableFor: rules.disableFor, ensureEverything: rules.ensureEverything, reload: book.reload },
  })

  const chores = choreTable(pools.work)
  await plantChores(pools.work, Object.keys(chores))
  const lookup = openLookup({ db: pools.ingest, channelKeys, monotonicMs })
  const touch = openTouch({ db: pools.work, monotonicMs, log })
  const random = Math.random
  const refreshing = {
    db: pools.work,
    vault,
    ledger,
    provider,
    limits: openRefreshLimits({ monotonicMs, random }),
    report: openFailureReport({ log, monotonicMs }),
    metrics,
    log,
    random,
    monotonicMs,
  }
  const tokens = openTokenReader(refreshing)
  const worker = openWorker(
    { db: pools.work, log, metrics },
    workTable({
      db: pools.work,
      vault,
      egress,
      clock,
      metrics,
      log,
      version: config.version,
      random,
      ledger,
      provider,
      refreshing,
      providerIds: [...providers.keys()],
      async accessToken(id, minValidSeconds) {
        const read = await tokens.read(id, minValidSeconds)
        return read.kind === 'unavailable' ? { kind: 'expired' } : read
      },
      channelKeys,
      lookup,
      webhookOrigin: config.webhookOrigin,
      chores,
    }),
  )
  const subscriptions = openSubscriptions({ provider, nudge: worker, lookup })
  const ingest = openIngest({
    db: pools.ingest,
    ledger,
    provider,
    lookup: lookup.of,
    notified: (ids) => {
      touch(ids, clock.now()).catch((error: unknown) => log.warn(errorFields(error), 'touch failed'))
    },
    nudgeDeliveries: () => worker.nudge('deliveries'),
    clock,
    metrics,
    log,
  })

  const platformJwt = config.platformJwt && openPlatformJwt({ fetch, clock }, config.platformJwt)
  const internal = await buildInternalServer({
    routes: routeTable({
      db: pools.work,
      vault,
      ledger,
      provider,
      providers: [...providers.values()],
      subscriptions,
      tokens,
      metrics,
      log,
      webhookOrigin: config.webhookOrigin,
      platformJwt,
      history: openHistory(pools.reads),
      destinations,
      rules,
      local: config.mode === 'local',
      unready: readiness.reasons,
      refreshGauges: async () => {
        const backlog = await readBacklog(pools.reads).catch(() => undefined)
        if (backlog === undefined) return
        metrics.gauge('deliveries_due', backlog.due)
        metrics.gauge('deliveries_dead', backlog.dead)
        metrics.gauge('oldest_due_seconds', backlog.oldestDueSeconds)
      },
    }),
    serviceSecret: config.serviceSecret.reveal(),
    version: config.version,
    session: (token) => callerOfSession({ db: pools.reads }, token),
    metrics,
    log,
  })
  const door = buildPublicServer({
    ingest,
    callback: openCallbackDoor({
      db: pools.work,
      vault,
      provider,
      metrics,
      consoleOrigin: config.consoleOrigin,
      log,
    }),
    endpoints: publicEndpoints([...providers.keys()]),
    log,
  })

  await internal.listen({ host: config.host, port: config.internalPort })
  if (config.role !== 'work') await listen(door, config.host, config.publicPort)
  if (config.role !== 'door') worker.start()

  return {
    publicPort: portOf(door),
    internalPort: portOf(internal.server),
    async stop(graceMs) {
      readiness.close()
      await closeDoor(door, graceMs)
      await ingest.close()
      await internal.close()
      if (config.role !== 'door') await worker.drain(graceMs)
      await egress.close()
      await closePools(pools)
    },
  }
}

function openProviders(config: Config, host: Host): ReadonlyMap<string, Provider> {
  return new Map(config.providers.map(({ module, settings }) => [module.id, module.open(settings, host)]))
}

type Pools = Readonly<Record<'ingest' | 'work' | 'reads', Pool>>

/** Sizes for one small server: together well under PostgreSQL's default of 100. */
function openPools(url: string, log: Log): Pools {
  const open = (name: PoolOptions['name'], size: number, statementMs: number) =>
    openPool({ url, name, size, connectMs: 1_500, statementMs, log })
  return { ingest: open('ingest', 6, 2_000), work: open('work', 16, 10_000), reads: open('reads', 6, 5_000) }
}

async function closePools(pools: Pools): Promise<void> {
  await Promise.all(Object.values(pools).map((pool) => pool.close()))
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/** Answers under way are finished; idle connections are closed at once; what is left after the grace is cut. */
function closeDoor(server: Server, graceMs: number): Promise<void> {
  if (!server.listening) return Promise.resolve()
  return new Promise((resolve) => {
    const cut = setTimeout(() => server.closeAllConnections(), graceMs)
    server.close(() => {
      clearTimeout(cut)
      resolve()
    })
    server.closeIdleConnections()
  })
}

const portOf = (server: Server): number => (server.address() as AddressInfo | null)?.port ?? 0
