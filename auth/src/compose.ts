/**
 * The one place where the parts meet. It opens pools, keys, providers, rooms and doors in the order in which they need
 * one another, and closes them in the opposite one: doors first, then what is in flight, then the pools.
 */
import { randomUUID } from 'node:crypto'
import { callerOfToken, recordDenial } from './callers/callers.ts'
import { gaugesFrom } from './compose-gauges.ts'
import { composeCalls, composeProviders } from './compose-providers.ts'
import { composeProxy } from './compose-proxy.ts'
import { composeRefreshing } from './compose-refreshing.ts'
import { composeRetention } from './compose-retention.ts'
import type { Config } from './config.ts'
import { noticesOfSecrets, secretExpiries } from './connections/client-secrets.ts'
import { sweepVanished } from './connections/erasure.ts'
import { openPlatformJwt } from './connections/platform-jwt.ts'
import { callerOfSession } from './connections/sessions.ts'
import { storeSignals } from './connections/signals.ts'
import { openTokenReader } from './connections/token-read.ts'
import { closePools, openPools, type Pools } from './db/pools.ts'
import { openReadiness } from './db/readiness.ts'
import { openDeadLetters } from './delivery/dead-letters.ts'
import { listDeliveries } from './delivery/delivery-list-store.ts'
import { openDestinations } from './delivery/destinations.ts'
import { openEgress } from './delivery/egress.ts'
import { openDestinationHealth } from './delivery/health-store.ts'
import { openHistory } from './delivery/history-store.ts'
import { openPace } from './delivery/pace.ts'
import { sendTest } from './delivery/send-test.ts'
import { openCallbackDoor } from './http/callback-route.ts'
import { buildInternalServer } from './http/internal-server.ts'
import { closeDoor, listen, portOf, withinGrace } from './http/listening.ts'
import { buildPublicServer } from './http/public-server.ts'
import { publicEndpoints, routeTable } from './http/routes.ts'
import { openServiceGate } from './http/service-gate.ts'
import { openIngest } from './ingest/receive.ts'
import { openRejectionSample } from './ingest/rejection-sample.ts'
import { readRejections } from './ingest/rejection-store.ts'
import { openLedger } from './ledger/ledger.ts'
import { monotonicMs, systemClock } from './platform/clock.ts'
import { errorFields, type Log } from './platform/log.ts'
import { openMetrics } from './platform/metrics.ts'
import { openRuleBook } from './routing/rule-book.ts'
import { openRules } from './routing/rules.ts'
import { heedLifecycle } from './subscriptions/lifecycle.ts'
import { openLookup } from './subscriptions/lookup.ts'
import { reconcile } from './subscriptions/reconcile.ts'
import { reconcileNow } from './subscriptions/reconcile-store.ts'
import { stopAtProvider } from './subscriptions/stop.ts'
import { adoptOrphans } from './subscriptions/stop-work.ts'
import { openSubscriptions } from './subscriptions/subscriptions.ts'
import { openTouch } from './subscriptions/touch.ts'
import { openChannelKeys } from './vault/channel-keys.ts'
import { openPresence } from './vault/presence.ts'
import { loadKeyRing } from './vault/store.ts'
import { openVault } from './vault/vault.ts'
import { plantChores } from './work/chores.ts'
import { openHints } from './work/hint.ts'
import { openWorker } from './work/work.ts'
import { choreTable, workTable } from './work-table.ts'

/** Beyond the grace, for what must be cut. */
const CUT_MS = 1_000

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
  const process = { id: randomUUID(), role: config.role, version: config.version }
  const ring = await loadKeyRing(pools.work, config.keys, process)
  const vault = openVault(ring)
  const channelKeys = openChannelKeys(ring)
  const providers = await composeProviders(config, { db: pools.work, now: () => clock.now(), monotonicMs })
  const provider = (id: string) => providers.get(id)

  const book = await openRuleBook(pools.ingest)
  const rules = openRules({ db: pools.work, book })
  const naming = { typePrefix: config.typePrefix, origin: config.webhookOrigin }
  const ledger = openLedger({ rules: book, clock, naming })
  const egress = openEgress({ allow: config.egressAllow })
  const destinations = openDestinations({
    db: pools.work,
    vault,
    egress,
    rules: { disableFor: rules.disableFor, ensureEverything: rules.ensureEverything, reload: book.reload },
  })

  const lookup = openLookup({ db: pools.ingest, channelKeys, vault, log, monotonicMs })
  const rejections = openRejectionSample({ db: pools.work, monotonicMs, log })
  const touch = openTouch({ db: pools.work, log })
  const random = Math.random
  // the worker, which hints wake, needs rooms that give hints
  const nudge = { nudge: (kind: string) => hints.nudge(kind) }
  const subscriptions = openSubscriptions({ provider, nudge, lookup })
  const base = { db: pools.work, metrics, log, random, nudge, ...composeCalls(pools.work, monotonicMs) }
  const common = { ...base, vault, ledger, provider, subscriptions }
  const expiries = secretExpiries(providers.values())
  const chores = choreTable(pools.work, {
    expiries,
    log,
    sweepVanished: () => sweepVanished(common),
    reconcile: () => reconcile(common),
    applyRetention: composeRetention({ db: pools.work, log, metrics }, config.retention),
  })
  await plantChores(pools.work, Object.keys(chores))
  await reconcileNow(pools.work)
  const refreshing = await composeRefreshing({ ...common, monotonicMs }, [...providers.keys()])
  const tokens = openTokenReader(refreshing)
  const pace = openPace(monotonicMs)
  const proxy = composeProxy({ db: pools.work, tokens, provider, metrics, log, monotonicMs })
  const worker = openWorker(
    { db: pools.work, log, metrics },
    workTable({
      ...common,
      egress,
      clock,
      pace,
      version: config.version,
      refreshing,
      providerIds: [...providers.keys()],
      async accessToken(id, minValidSeconds) {
        const read = await tokens.read(id, minValidSeconds)
        return read.kind === 'unavailable' ? { kind: 'expired' } : read
      },
      stopAtProvider: (connection, token, signal) =>
        stopAtProvider({ db: pools.work, provider }, connection, token, signal),
      channelKeys,
      lookup,
      webhookOrigin: config.webhookOrigin,
      checkEverySeconds: config.subscriptionCheckMinutes * 60,
      chores,
    }),
  )
  const hints = openHints({ db: pools.work, url: config.databaseUrl, role: config.role, worker, pace, log })
  const ingest = openIngest({
    db: pools.ingest,
    ledger,
    provider,
    lookup: lookup.of,
    // it never rejects
    notified: (ids) => void touch(ids, clock.now()),
    stored: (deliveries) => hints.stored(deliveries),
    sampleRejection: (refused) => void rejections.take(refused),
    adoptOrphan: (orphan) => {
      adoptOrphans({ db: pools.work, nudge, log }, [orphan]).catch((error: unknown) =>
        log.warn(errorFields(error), 'an orphan was not written down'),
      )
    },
    heedLifecycle: (facts) => heedLifecycle({ db: pools.work, nudge }, facts),
    storeSignals: (id, signals) => storeSignals({ db: pools.work, nudge }, id, signals),
    clock,
    metrics,
    log,
  })

  const platformJwt = config.platformJwt && openPlatformJwt({ fetch, clock }, config.platformJwt)
  const internal = await buildInternalServer({
    routes: routeTable(
      {
        ...common,
        providers: [...providers.values()],
        tokens,
        proxy: proxy.room,
        webhookOrigin: config.webhookOrigin,
        platformJwt,
        history: openHistory(pools.reads),
        listDeliveries: (query) => listDeliveries(pools.reads, query),
        destinationHealth: openDestinationHealth(pools.reads, monotonicMs),
        deadLetters: openDeadLetters({ db: pools.work, nudge: hints }),
        destinations,
        sendTest: (actor, id, to) =>
          sendTest({ db: pools.work, vault, egress, clock, naming, version: config.version }, actor, id, to),
        rules,
        rejections: () => readRejections(pools.reads),
        local: config.mode === 'local',
        unready: readiness.reasons,
        notices: () => noticesOfSecrets(expiries, clock.now()),
        refreshGauges: gaugesFrom({ db: pools.reads, metrics, clock, monotonicMs, expiries }),
      },
      config.role,
    ),
    version: config.version,
    admission: {
      gate: openServiceGate({
        serviceSecret: config.serviceSecret.reveal(),
        caller: (token) => callerOfToken({ db: pools.reads }, token),
        monotonicMs,
        log,
      }),
      session: (token) => callerOfSession({ db: pools.reads }, token),
      denied: (caller, what) => recordDenial({ db: pools.work }, caller, what),
      metrics,
    },
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
    proxies: config.trustedProxies,
    webhookAddresses: config.webhookAddresses,
    overloaded: metrics.overloads,
    log,
  })

  await internal.listen({ host: config.host, port: config.internalPort })
  if (config.role !== 'work') await listen(door, config.host, config.publicPort)
  if (config.role !== 'door') worker.start()
  const presence = openPresence({ db: pools.work, ring, process, log })

  return {
    publicPort: portOf(door),
    internalPort: portOf(internal.server),
    async stop(graceMs) {
      readiness.drain()
      // The worker claims no more from now on; what is in flight everywhere shares one grace.
      const work = config.role === 'door' ? Promise.resolve() : worker.drain(graceMs)
      const doors = closeDoor(door, graceMs).then(() => Promise.all([ingest.close(), rejections.close()]))
      await withinGrace(Promise.all([work, doors, internal.close()]), graceMs + CUT_MS)
      await Promise.all([egress.close(), hints.close()])
      await proxy.close()
      await withinGrace(presence.end(), CUT_MS)
      await withinGrace(closePools(pools), CUT_MS)
    },
  }
}
