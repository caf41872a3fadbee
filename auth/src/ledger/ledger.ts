/**
 * Where notifications, events and the deliveries they cause are recorded, in one transaction. Every room may `record`
 * events of its own inside its own transaction; ingest stores groups. The ledger matches rules, so that an event
 * without its deliveries cannot exist. It never sends anything.
 */
import type { Db, Transaction } from '../db/sql.ts'
import { sqlState } from '../db/sql.ts'
import type { Clock } from '../platform/clock.ts'
import { type EventId, idFrom, type NotificationId, newId, newTimedId, sha256 } from '../platform/ids.ts'
import { bareType, cloudEvent, type Naming, type NewEvent, sourceOf, typeOf } from './cloud-event.ts'
import {
  type DeliveryRow,
  type EventRow,
  ensureDays,
  insertRecording,
  type NewCount,
  type NotificationRow,
  type Recorded,
} from './store.ts'

export type { Area, Naming, NewEvent } from './cloud-event.ts'

/** A set of rules at one revision, from the routing room. */
export interface MatchedRules {
  readonly revision: string
  match(event: {
    type: string
    provider?: string
    connectionId?: string
    subject?: string
  }): readonly { ruleId: string; destinationId: string }[]
}

export interface Rules {
  current(): MatchedRules
  /** Reads the newest revision. */
  reload(): Promise<void>
}

/** One genuine HTTP request with what it says. */
export interface NotificationToStore {
  readonly provider: string
  readonly ref: string | null
  readonly receivedAt: Date
  /** Allow-listed headers only. */
  readonly headers: Readonly<Record<string, readonly string[]>>
  readonly body: Buffer
  readonly events: readonly NewEvent[]
}

export interface Ledger {
  /** Records events of a room in the room's own transaction. */
  record(tx: Transaction, events: readonly NewEvent[]): Promise<void>
  /**
   * Stores a group by one statement; when this resolves with autocommit, it is committed.
   * @returns what was new, by provider and type; `duplicates` by provider, only those that have any
   */
  store(
    db: Db,
    group: readonly NotificationToStore[],
  ): Promise<{
    newEvents: readonly NewCount[]
    duplicates: ReadonlyMap<string, number>
    deliveries: number
  }>
}

export interface LedgerNeeds {
  readonly rules: Rules
  readonly clock: Clock
  readonly naming: Naming
}

/** How often rules may change under one group before it gives up (503; the provider repeats). */
const REVISION_TRIES = 5

export function openLedger(needs: LedgerNeeds): Ledger {
  return {
    async record(tx, events) {
      if (events.length === 0) return
      // Inside somebody's transaction a missing partition must not abort it, hence the savepoint.
      await write(
        needs,
        tx,
        [],
        events.map((event) => ({ event, notificationId: null })),
        (attempt) => tx.savepoint(attempt),
      )
    },
    async store(db, group) {
      const notifications: NotificationRow[] = []
      const events: { event: NewEvent; notificationId: string | null }[] = []
      for (const item of group) {
        const id: NotificationId = newTimedId('ntf', item.receivedAt)
        notifications.push({
          id,
          received_at: item.receivedAt,
          provider: item.provider,
          ref: item.ref,
          headers: Buffer.from(JSON.stringify(item.headers)),
          body: item.body,
          body_sha256: sha256(item.body),
        })
        for (const event of item.events) events.push({ event, notificationId: id })
      }
      const recorded = await write(needs, db, notifications, events, (attempt) => attempt())
      const sum = recorded.events.reduce((sum, { count }) => sum + count, 0)
      return {
        newEvents: recorded.events.map((one) => ({ ...one, type: bareType(needs.naming, one.type) })),
        duplicates: events.length === sum ? new Map() : duplicatesOf(events, recorded.events),
        deliveries: recorded.deliveries,
      }
    },
  }
}

function duplicatesOf(told: readonly { event: NewEvent }[], isNew: readonly NewCount[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { event } of told) counts.set(event.provider ?? '', (counts.get(event.provider ?? '') ?? 0) + 1)
  for (const { provider, count } of isNew)
    counts.set(provider ?? '', (counts.get(provider ?? '') ?? 0) - count)
  return new Map([...counts].filter(([, count]) => count > 0))
}

async function write(
  needs: LedgerNeeds,
  db: Db,
  notifications: readonly NotificationRow[],
  events: readonly { event: NewEvent; notificationId: string | null }[],
  guarded: (attempt: () => Promise<Recorded>) => Promise<Recorded>,
): Promise<Recorded> {
  const recordedAt = needs.clock.now()
  const rows = eventRows(needs.naming, events, recordedAt)
  let daysMade = false
  for (let tries = 0; tries < REVISION_TRIES; ) {
    const rules = needs.rules.current()
    const recording = {
      recordedAt,
      notifications,
      events: rows.map(({ row }) => row),
      deliveries: deliveryRows(rules, rows, recordedAt),
    }
    try {
      const recorded = await guarded(() => insertRecording(db, rules.revision, recording))
      if (recorded.revision === rules.revision) return recorded
      tries += 1
      await needs.rules.reload()
    } catch (error) {
      // 23514: no partition for this day. Made on demand, once.
      if (sqlState(error) !== '23514' || daysMade) throw error
      daysMade = true
      await ensureDays(db, [recordedAt, ...notifications.map((row) => row.received_at)])
    }
  }
  throw Object.assign(new Error('the rules kept changing while a group was stored'), {
    code: 'rules_changing',
    safe: true,
  })
}

/** Rows in the order of their keys; what occurs twice in one group is kept once. */
function eventRows(
  naming: Naming,
  events: readonly { event: NewEvent; notificationId: string | null }[],
  recordedAt: Date,
): { event: NewEvent; row: EventRow }[] {
  const seen = new Set<string>()
  const rows: { event: NewEvent; row: EventRow }[] = []
  for (const { event, notificationId } of events) {
    const scope = event.connectionId ?? `${event.area}/${event.provider ?? ''}`
    const identity = event.identity === undefined ? null : sha256(event.identity)
    // The same fact has the same id for ever, also after a restore.
    const id: EventId =
      identity === null ? newId('evt') : idFrom('evt', sha256(`${scope}\n${identity.toString('hex')}`))
    if (identity !== null && seen.has(id)) continue
    seen.add(id)
    rows.push({
      event,
      row: {
        id,
        notification_id: notificationId,
        connection_id: event.connectionId ?? null,
        owner_id: event.ownerId ?? null,
        provider: event.provider ?? null,
        type: typeOf(naming, event),
        origin_type: event.originType ?? null,
        source: sourceOf(naming, event),
        subject: event.subject ?? null,
        time: event.time ?? null,
        data: cloudEvent(naming, id, event, recordedAt),
        scope,
        identity,
      },
    })
  }
  return rows
}

function deliveryRows(
  rules: MatchedRules,
  rows: readonly { event: NewEvent; row: EventRow }[],
  recordedAt: Date,
): DeliveryRow[] {
  const deliveries: DeliveryRow[] = []
  for (const { event, row } of rows) {
    const matches = rules.match({
      type: event.type,
      ...(event.provider === undefined ? {} : { provider: event.provider }),
      ...(event.connectionId === undefined ? {} : { connectionId: event.connectionId }),
      ...(event.subject === undefined ? {} : { subject: event.subject }),
    })
    for (const { ruleId, destinationId } of matches) {
      deliveries.push({
        id: newTimedId('dlv', recordedAt),
        event_id: row.id,
        destination_id: destinationId,
        rule_id: ruleId,
      })
    }
  }
  return deliveries
}
