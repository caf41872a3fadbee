/**
 * The Prometheus metrics of the contract, one method a family. Labels are provider ids, destination ids and fixed words:
 * never an account or an address. Served on the internal port only.
 */
import { Counter, Gauge, Histogram, Registry } from 'prom-client'

export type SubscriptionOutcome = 'created' | 'failed' | 'renewed' | 'lapsed' | 'stopped' | 'missed'

export interface Metrics {
  callbacks(provider: string, outcome: 'succeeded' | 'failed'): void
  refreshes(provider: string, outcome: 'succeeded' | 'failed'): void
  refreshFailures(provider: string, failureClass: string): void
  signatureFailures(provider: string, reason: string, count?: number): void
  events(provider: string, type: string, count: number): void
  unreadable(provider: string, reason: string): void
  stateFailures(provider: string, reason: string): void
  revocations(provider: string, outcome: 'ended' | 'given_up'): void
  handshakes(provider: string): void
  duplicates(provider: string, count: number): void
  overloads(reason: string): void
  deliveries(destination: string, outcome: 'delivered' | 'failed' | 'dead' | 'expired', count?: number): void
  destinationChanges(change: 'failing' | 'recovered' | 'disabled'): void
  attemptSeconds(seconds: number): void
  groupSize(notifications: number): void
  subscriptions(provider: string, outcome: SubscriptionOutcome): void
  workErrors(kind: string): void
  serviceTokenFailures(): void
  /** @param outcome `2xx` … `5xx`, `failed` */
  proxyCalls(provider: string, api: string, outcome: string): void
  /** Refreshed when the page is read. */
  gauge(name: 'deliveries_due' | 'deliveries_dead' | 'oldest_due_seconds', value: number): void
  /** All of them at once: what is not named any more is gone. */
  vaultRows(rows: readonly { readonly key: string; readonly table: string; readonly rows: number }[]): void
  /** All destinations at once; those that are not named any more disappear. */
  destinations(backlogs: readonly DestinationGauges[]): void
  /** What an operator has to repair at a provider; all of them at once. */
  /** Subscriptions that are not as they should be, by why. */
  subscriptionsUnwell(
    rows: readonly { readonly provider: string; readonly reason: string; readonly count: number }[],
  ): void
  providerAlarms(alarms: readonly { readonly provider: string; readonly code: string }[]): void
  /** Refreshed when the page is read. Negative once it has expired. */
  clientSecretExpires(provider: string, inSeconds: number): void
  page(): Promise<{ contentType: string; body: string }>
}

/** What waits at one destination. */
export interface DestinationGauges {
  readonly destination: string
  readonly due: number
  readonly inFlight: number
  readonly dead: number
  /** Throttled, paused and held ones included. */
  readonly oldestDueSeconds: number
  readonly breakerOpen: boolean
}

const PREFIX = 'flovify_'

export function openMetrics(): Metrics {
  const registry = new Registry()
  const counter = (name: string, help: string, labelNames: string[]) =>
    new Counter({ name: PREFIX + name, help, labelNames, registers: [registry] })
  const callbacks = counter('oauth_callbacks_total', 'Connections completed or failed', [
    'provider',
    'outcome',
  ])
  const refreshes = counter('token_refreshes_total', 'Token refreshes', ['provider', 'outcome'])
  const refreshFailures = counter(
    'token_refresh_failures_total',
    'Failed refreshes by class; our_configuration is the operator’s to repair',
    ['provider', 'class'],
  )
  const events = counter(
    'webhook_events_total',
    'New events of notifications that were stored, by type; repetitions are in webhook_duplicates_total',
    ['provider', 'type'],
  )
  const signatures = counter(
    'webhook_signature_failures_total',
    'Requests or items that were not genuine, or genuine and of nobody here (unknown_…)',
    ['provider', 'reason'],
  )
  const unreadable = counter(
    'webhook_unreadable_total',
    'Genuine items whose encrypted content could not be read; their events stand without it',
    ['provider', 'reason'],
  )
  const states = counter('oauth_state_failures_total', 'Callbacks and completions refused', [
    'provider',
    'reason',
  ])
  const revocations = counter(
    'revocations_total',
    'Disconnected connections ended at their provider, or given up after a day',
    ['provider', 'outcome'],
  )
  const handshakes = counter('webhook_handshakes_total', 'Handshakes answered', ['provider'])
  const duplicates = counter('webhook_duplicates_total', 'Facts that were already known', ['provider'])
  const overloads = counter('webhook_overloads_total', 'Notifications answered 503', ['reason'])
  const deliveries = counter('deliveries_total', 'Attempts settled', ['destination', 'outcome'])
  const destinationChanges = counter(
    'destination_changes_total',
    'Destinations failing, recovered, disabled',
    ['change'],
  )
  // there from the start: the first one ever is an increase, too
  for (const change of ['failing', 'recovered', 'disabled']) destinationChanges.inc({ change }, 0)
  const subscriptions = counter(
    'subscriptions_total',
    'Subscriptions created, renewed, stopped, failed, lapsed, or with changes that were not pushed',
    ['provider', 'outcome'],
  )
  const workErrors = counter('work_errors_total', 'Due rows whose work threw', ['kind'])
  const tokenFailures = counter(
    'service_token_failures_total',
    'Internal requests without a valid service token',
    [],
  )
  const proxied = counter('proxy_calls_total', 'Calls of the providers’ APIs for services', [
    'provider',
    'api',
    'outcome',
  ])
  const attempts = new Histogram({
    name: `${PREFIX}attempt_seconds`,
    help: 'Duration of delivery attempts',
    buckets: [0.005, 0.02, 0.1, 0.5, 2, 10, 30],
    registers: [registry],
  })
  const byDestination = (name: string, help: string) =>
    new Gauge({
      name: `${PREFIX}destination_${name}`,
      help,
      labelNames: ['destination'],
      registers: [registry],
    })
  const waiting = {
    due: byDestination('due', 'Deliveries that are due, held ones included'),
    inFlight: byDestination('in_flight', 'Deliveries under lease'),
    dead: byDestination('dead', 'Dead deliveries'),
    oldestDueSeconds: byDestination(
      'oldest_due_seconds',
      'Age of the oldest due delivery, held ones included',
    ),
    breakerOpen: byDestination('breaker_open', '1 while the breaker is open'),
  }
  const groups = new Histogram({
    name: `${PREFIX}ingest_group_size`,
    help: 'Notifications stored by one commit',
    buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256],
    registers: [registry],
  })
  const vaultRows = new Gauge({
    name: `${PREFIX}vault_rows`,
    help: 'Rows with a data key, by the key of the ring that wraps it',
    labelNames: ['key', 'table'],
    registers: [registry],
  })
  const unwell = new Gauge({
    name: `${PREFIX}subscriptions_unwell`,
    help: 'Subscriptions of living connections that failed, wait too long, cannot be renewed, are about to expire, or were silent within a day',
    labelNames: ['provider', 'reason'],
    registers: [registry],
  })
  const alarmed = new Gauge({
    name: `${PREFIX}provider_alarms`,
    help: 'Our credentials or requests that a provider refuses, by cause, until repaired',
    labelNames: ['provider', 'code'],
    registers: [registry],
  })
  const secrets = new Gauge({
    name: `${PREFIX}client_secret_expires_seconds`,
    help: 'Until our own client secret at a provider expires, where the operator has told when',
    labelNames: ['provider'],
    registers: [registry],
  })
  const gauges = new Map<string, Gauge>()
  return {
    callbacks: (provider, outcome) => callbacks.inc({ provider, outcome }),
    refreshes: (provider, outcome) => refreshes.inc({ provider, outcome }),
    refreshFailures: (provider, failureClass) => refreshFailures.inc({ provider, class: failureClass }),
    signatureFailures: (provider, reason, count = 1) => signatures.inc({ provider, reason }, count),
    events: (provider, type, count) => events.inc({ provider, type }, count),
    unreadable: (provider, reason) => unreadable.inc({ provider, reason }),
    stateFailures: (provider, reason) => states.inc({ provider, reason }),
    revocations: (provider, outcome) => revocations.inc({ provider, outcome }),
    handshakes: (provider) => handshakes.inc({ provider }),
    duplicates: (provider, count) => duplicates.inc({ provider }, count),
    overloads: (reason) => overloads.inc({ reason }),
    deliveries: (destination, outcome, count = 1) => deliveries.inc({ destination, outcome }, count),
    destinationChanges: (change) => destinationChanges.inc({ change }),
    attemptSeconds: (seconds) => attempts.observe(seconds),
    groupSize: (notifications) => groups.observe(notifications),
    subscriptions: (provider, outcome) => subscriptions.inc({ provider, outcome }),
    workErrors: (kind) => workErrors.inc({ kind }),
    serviceTokenFailures: () => tokenFailures.inc(),
    proxyCalls: (provider, api, outcome) => proxied.inc({ provider, api, outcome }),
    gauge: (name, value) => {
      const gauge =
        gauges.get(name) ??
        new Gauge({ name: PREFIX + name, help: name.replaceAll('_', ' '), registers: [registry] })
      gauges.set(name, gauge)
      gauge.set(value)
    },
    vaultRows: (rows) => {
      vaultRows.reset()
      for (const { key, table, rows: count } of rows) vaultRows.set({ key, table }, count)
    },
    destinations: (backlogs) => {
      for (const gauge of Object.values(waiting)) gauge.reset()
      for (const { destination, ...values } of backlogs)
        for (const [name, gauge] of Object.entries(waiting))
          gauge.set({ destination }, Number(values[name as keyof typeof waiting]))
    },
    subscriptionsUnwell: (rows) => {
      unwell.reset()
      for (const { provider, reason, count } of rows) unwell.set({ provider, reason }, count)
    },
    providerAlarms: (alarms) => {
      alarmed.reset()
      for (const { provider, code } of alarms) alarmed.set({ provider, code }, 1)
    },
    clientSecretExpires: (provider, inSeconds) => secrets.set({ provider }, inSeconds),
    page: async () => ({ contentType: registry.contentType, body: await registry.metrics() }),
  }
}
