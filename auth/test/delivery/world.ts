/** Rows and parts that the tests of deliveries share: a vault, a clock, destinations, events and deliveries in a real database. */
import { randomBytes } from 'node:crypto'
import type { Secret } from '@flovify/providers'
import type { Db } from '../../src/db/sql.ts'
import { sql } from '../../src/db/sql.ts'
import { settleDelivered } from '../../src/delivery/delivered-store.ts'
import { destinationContext } from '../../src/delivery/destinations.ts'
import type { Attempt } from '../../src/delivery/settle-store.ts'
import { newSigningSecret } from '../../src/delivery/signature.ts'
import type { DeliveryRow } from '../../src/delivery/store.ts'
import { type DeliveryWorkNeeds, deliveryWork } from '../../src/delivery/work.ts'
import { type Ledger, openLedger } from '../../src/ledger/ledger.ts'
import { type OffsetClock, systemClock } from '../../src/platform/clock.ts'
import { newId } from '../../src/platform/ids.ts'
import { type Log, openLog } from '../../src/platform/log.ts'
import { openMetrics } from '../../src/platform/metrics.ts'
import { openRuleBook } from '../../src/routing/rule-book.ts'
import { openKeyRing } from '../../src/vault/key-ring.ts'
import { openVault, type Vault } from '../../src/vault/vault.ts'
import type { WorkKind } from '../../src/work/work.ts'

export const vault: Vault = openVault(openKeyRing(new Map([['k0', randomBytes(32)]]), 'k0'))

export function capturedLog(): { log: Log; lines: string[] } {
  const lines: string[] = []
  return { log: openLog({ write: (line: string) => lines.push(line) }), lines }
}

/** The kind of work as a worker has it, while no door stores. */
export function deliveryWorkOn(
  needs: Pick<DeliveryWorkNeeds, 'db' | 'egress' | 'ledger' | 'clock' | 'log'> & Partial<DeliveryWorkNeeds>,
): WorkKind<DeliveryRow> {
  const pace = { restMs: () => 0 }
  return deliveryWork({ vault, metrics: openMetrics(), version: '1', random: () => 0.5, pace, ...needs })
}

/** The ledger with the rules as they are now. */
export async function ledgerOn(db: Db): Promise<{ ledger: Ledger; reloadRules: () => Promise<void> }> {
  const book = await openRuleBook(db)
  const naming = { typePrefix: 'ca.flovify', origin: 'https://hooks.example' }
  return {
    ledger: openLedger({ rules: book, clock: systemClock(), naming }),
    reloadRules: () => book.reload(),
  }
}

/** Moves the database's clock and the process's together. */
export async function moveClock(db: Db, clock: OffsetClock, offsetMs: number): Promise<void> {
  await db.rows(sql`update auth.clock_offset set offset_ms = ${offsetMs}`)
  clock.follow(offsetMs)
}

export { systemClock }

export interface DestinationOptions {
  readonly url?: string
  readonly concurrency?: number
  readonly rate?: number
  readonly timeoutMs?: number
  readonly paused?: boolean
  /** Default: a secret of its own. */
  readonly secret?: Secret
}

export async function addDestination(db: Db, options: DestinationOptions = {}): Promise<string> {
  const id = newId('dst')
  const context = destinationContext(id)
  const dataKey = vault.newDataKey(context)
  const sealed = vault.open(dataKey, context).seal('secret', options.secret ?? newSigningSecret())
  await db.rows(sql`
    insert into auth.destinations (id, name, url, data_key, secret, concurrency, rate_per_second, timeout_ms, paused)
    values (${id}, ${`to ${id}`}, ${options.url ?? 'https://hook.example/'}, ${dataKey}, ${sealed},
            ${options.concurrency ?? 10}, ${options.rate ?? null}, ${options.timeoutMs ?? 5_000}, ${options.paused ?? false})`)
  return id
}

export interface EventOptions {
  readonly ownerId?: string | null
  readonly data?: Buffer
  readonly at?: Date
  readonly connectionId?: string
}

export interface AddedEvent {
  readonly id: string
  readonly at: Date
}

export async function addEvent(db: Db, options: EventOptions = {}): Promise<AddedEvent> {
  const id = newId('evt')
  const row = await db.one<{ recorded_at: Date }>(sql`
    insert into auth.events (id, recorded_at, connection_id, owner_id, provider, type, source, data)
    values (${id}, coalesce(${options.at ?? null}::timestamptz, date_trunc('milliseconds', auth.clock())), ${options.connectionId ?? null},
            ${options.ownerId ?? null}, 'one', 'ca.flovify.mail.mailbox.v1.notified', 'https://hooks.example/connections/x/mail',
            ${options.data ?? Buffer.from(`{"id":"${id}"}`)})
    returning recorded_at`)
  if (row === undefined) throw new Error('no event')
  return { id, at: row.recorded_at }
}

/** @param dueInMs from the database's now; negative: overdue */
export async function addDelivery(
  db: Db,
  destinationId: string,
  event: AddedEvent,
  dueInMs = -1_000,
): Promise<string> {
  const id = newId('dlv')
  await db.rows(sql`
    insert into auth.deliveries (id, event_id, event_recorded_at, destination_id, rule_id, due_at, created_at)
    values (${id}, ${event.id}, ${event.at}, ${destinationId}, 'rul_test', auth.clock() + make_interval(secs => ${dueInMs / 1000}), auth.clock())`)
  return id
}

/** Many due deliveries of one event in one statement, oldest first. */
export async function addBacklog(db: Db, destinationId: string, count: number): Promise<void> {
  const event = await addEvent(db)
  await db.rows(sql`
    insert into auth.deliveries (id, event_id, event_recorded_at, destination_id, rule_id, due_at, created_at)
    select 'dlv_' || replace(gen_random_uuid()::text, '-', ''), ${event.id}, ${event.at}, ${destinationId}, 'rul_test',
           auth.clock() - make_interval(secs => ${count} - n), auth.clock()
      from generate_series(1, ${count}::int) n`)
}

/** A delivery that came through, settled alone. */
export async function deliveredOne(db: Db, row: DeliveryRow, attempt: Attempt): Promise<boolean> {
  return (await settleDelivered(db, [{ row, attempt }]))[0] === true
}
