/**
 * Two ledgers kept outside the system: what a sender was told about each notification, and what a receiver got; and the
 * balance of both against the database. The sender behaves like a provider: what was not acknowledged it sends again,
 * what was acknowledged never. It knows nothing of how the service works inside.
 */
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { Receipt } from '../../local/src/receiver.ts'

/** One answer to one try; status 0 is a connection that broke or never was. */
export interface Answer {
  readonly status: number
  readonly retryAfter: string | undefined
  /** Milliseconds since 1970. */
  readonly sentAt: number
  readonly answeredAt: number
}

export interface SenderLedger {
  /** Every number that was sent, with every answer it got, in order. */
  readonly sent: ReadonlyMap<number, readonly Answer[]>
  readonly acknowledged: ReadonlySet<number>
}

export interface BurstOptions {
  readonly url: string
  /** Notifications `from` to `from + count - 1`. */
  readonly from: number
  readonly count: number
  readonly concurrency: number
  readonly body: (n: number) => Buffer
  /** Pause before a notification that was not acknowledged is sent again. */
  readonly retryMs: number
  /** After this the rest is given up. */
  readonly patienceMs: number
}

export interface Burst {
  readonly ledger: SenderLedger
  /** Resolves when everything is acknowledged or patience has ended. */
  readonly done: Promise<void>
  /** Resolves when so many are acknowledged. */
  reached(acknowledged: number): Promise<void>
}

const ANSWER_TIMEOUT_MS = 10_000

export const isAcknowledgement = (status: number): boolean => status >= 200 && status < 300

/** Begins to send. */
export function sendBurst(options: BurstOptions): Burst {
  const sent = new Map<number, Answer[]>()
  const acknowledged = new Set<number>()
  const waiting = Array.from({ length: options.count }, (_, i) => ({ n: options.from + i, notBefore: 0 }))
  const end = Date.now() + options.patienceMs
  let open = options.count

  const send = async (n: number) => {
    const answers = sent.get(n) ?? []
    sent.set(n, answers)
    const answer = await post(options.url, options.body(n))
    answers.push(answer)
    if (isAcknowledgement(answer.status)) {
      acknowledged.add(n)
      open -= 1
    } else waiting.push({ n, notBefore: Date.now() + options.retryMs })
  }
  const sender = async () => {
    while (open > 0 && Date.now() < end) {
      const next = waiting.shift()
      if (next === undefined) await sleep(5)
      else {
        await sleep(Math.max(0, next.notBefore - Date.now()))
        await send(next.n)
      }
    }
  }
  return {
    ledger: { sent, acknowledged },
    done: Promise.all(Array.from({ length: options.concurrency }, sender)).then(() => undefined),
    async reached(count) {
      while (acknowledged.size < count && Date.now() < end) await sleep(2)
    },
  }
}

async function post(url: string, body: Buffer): Promise<Answer> {
  const sentAt = Date.now()
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: new Uint8Array(body),
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    })
    await response.arrayBuffer()
    const retryAfter = response.headers.get('retry-after') ?? undefined
    return { status: response.status, retryAfter, sentAt, answeredAt: Date.now() }
  } catch {
    return { status: 0, retryAfter: undefined, sentAt, answeredAt: Date.now() }
  }
}

/** Both ledgers of several bursts as one. */
export function joinLedgers(ledgers: readonly SenderLedger[]): SenderLedger {
  return {
    sent: new Map(ledgers.flatMap((ledger) => [...ledger.sent])),
    acknowledged: new Set(ledgers.flatMap((ledger) => [...ledger.acknowledged])),
  }
}

/** The number of a notification made by `seedSubscription`, wherever its message id stands. */
export function numberIn(text: string): number | undefined {
  const found = /AAMkADNkNAAAq(\d+)x{80}/.exec(text)?.[1]
  return found === undefined ? undefined : Number(found)
}

export interface StoredEvent {
  readonly id: string
  readonly n: number
  /** Of the notification's stored bytes. */
  readonly bodySha256: string
}

/** The events of one connection's notifications, straight from the database. */
export async function readStored(databaseUrl: string, connectionId: string): Promise<StoredEvent[]> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  try {
    const { rows } = await client.query<{ id: string; data: Buffer; body: Buffer }>(
      `select e.id, e.data, n.body from auth.events e join auth.notifications n on n.id = e.notification_id
        where e.connection_id = $1`,
      [connectionId],
    )
    return rows.map(({ id, data, body }) => ({
      id,
      n: numberIn(data.toString('utf8')) ?? -1,
      bodySha256: sha256(body),
    }))
  } finally {
    await client.end()
  }
}

/** Waits until every acknowledged notification has reached the receiver, or patience ends; the balance judges. */
export async function waitForDeliveries(
  ledger: SenderLedger,
  receipts: () => readonly Receipt[],
  patienceMs: number,
): Promise<void> {
  const missing = new Set(ledger.acknowledged)
  for (let seen = 0, end = Date.now() + patienceMs; Date.now() < end; await sleep(50)) {
    const all = receipts()
    for (; seen < all.length; seen++) missing.delete(numberIn(all[seen]?.body ?? '') ?? -1)
    if (missing.size === 0) return
  }
}

export interface Balance {
  readonly sent: number
  readonly acknowledged: number
  /** Answers that were not an acknowledgement, by status; 0 for broken connections. */
  readonly refused: Readonly<Record<string, number>>
  readonly stored: number
  readonly delivered: number
  /** Deliveries of an event beyond its first. */
  readonly duplicates: number
  /** Each a sentence; empty when the ledgers balance. */
  readonly problems: readonly string[]
}

/** Compares what was promised, what is stored and what arrived. Pure. */
export function balance(
  sender: SenderLedger,
  body: (n: number) => Buffer,
  stored: readonly StoredEvent[],
  receipts: readonly Receipt[],
): Balance {
  const eventsOf = groupBy(stored, ({ n }) => n)
  const verified = receipts.filter((receipt) => receipt.verified && receipt.status < 300)
  const receiptsOf = groupBy(verified, (receipt) => numberIn(receipt.body) ?? -1)
  const acknowledged = [...sender.acknowledged]
  const problems: string[] = []
  const report = (what: string, found: readonly (string | number)[]) => {
    if (found.length > 0) problems.push(`${what}: ${found.length} (${found.slice(0, 5).join(', ')})`)
  }
  report(
    'acknowledged but not stored',
    acknowledged.filter((n) => !eventsOf.has(n)),
  )
  report(
    'stored as more than one event',
    [...eventsOf].filter(([, events]) => events.length > 1).map(([n]) => n),
  )
  report(
    'stored but never sent',
    [...eventsOf.keys()].filter((n) => !sender.sent.has(n)),
  )
  report(
    'stored with other bytes than sent',
    stored
      .filter(({ n, bodySha256 }) => sender.sent.has(n) && bodySha256 !== sha256(body(n)))
      .map(({ n }) => n),
  )
  report(
    'acknowledged but not delivered',
    acknowledged.filter((n) => !receiptsOf.has(n)),
  )
  report(
    'delivered but never sent',
    [...receiptsOf.keys()].filter((n) => !sender.sent.has(n)),
  )
  report(
    'delivered under another id than stored',
    [...receiptsOf]
      .filter(([n, got]) => got.some(({ webhookId }) => webhookId !== eventsOf.get(n)?.[0]?.id))
      .map(([n]) => n),
  )
  report(
    'delivered without a valid signature',
    receipts.filter((receipt) => !receipt.verified).map(({ webhookId }) => webhookId),
  )
  return {
    sent: sender.sent.size,
    acknowledged: acknowledged.length,
    refused: countRefused(sender),
    stored: stored.length,
    delivered: receiptsOf.size,
    duplicates: verified.length - receiptsOf.size,
    problems,
  }
}

function countRefused(sender: SenderLedger): Record<string, number> {
  const refused: Record<string, number> = {}
  for (const { status } of [...sender.sent.values()].flat())
    if (!isAcknowledgement(status)) refused[status] = (refused[status] ?? 0) + 1
  return refused
}

function groupBy<Item>(items: readonly Item[], keyOf: (item: Item) => number): Map<number, Item[]> {
  const groups = new Map<number, Item[]>()
  for (const item of items) {
    const key = keyOf(item)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [item])
    else group.push(item)
  }
  return groups
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
