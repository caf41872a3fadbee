/**
 * What follows from an attempt for its destination: it is failing, has recovered, or is disabled. Each change is one
 * transaction with its audit entry and its event, which goes to everybody who wants it except that destination
 * (`routing/match.ts`). A receiver that asks to be left alone is, by the same row. It settles no delivery and holds none
 * back: the claim reads the row.
 */
import type { JsonObject } from '@flovify/providers'
import { audit } from '../audit/audit.ts'
import type { Database, Transaction } from '../db/sql.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { Log } from '../platform/log.ts'
import type { Metrics } from '../platform/metrics.ts'
import { holdMs, judgeHealth, probeDelayMs } from './breaker.ts'
import {
  type Changed,
  disableDestination,
  holdDestination,
  markFailing,
  markRecovered,
  openBreaker,
  putOffProbe,
  readHealthFacts,
} from './breaker-store.ts'

export interface HealthNeeds {
  readonly db: Database
  readonly ledger: Pick<Ledger, 'record'>
  readonly metrics: Metrics
  readonly log: Log
}

export type DestinationChange = 'failing' | 'recovered' | 'disabled'

/** One for each process. */
export interface Health {
  /** A probe has been answered, or the first success after a failure. */
  delivered(asked: Asked & { readonly unwell: boolean }): Promise<void>
  /** @param status null: no answer came @param retryAfterMs what the receiver asked for, if anything */
  failed(asked: Asked, status: number | null, retryAfterMs: number | undefined): Promise<void>
  /** 410: gone for good. Source: Standard Webhooks, "Disabling endpoints"; RFC 9110 §15.5.11. */
  gone(asked: Asked): Promise<void>
}

/** The destination as the attempt found it: its address may have changed meanwhile. */
export interface Asked {
  readonly id: string
  readonly url: string
}

export function openHealth(needs: HealthNeeds): Health {
  const judgements = new Map<string, Judgement>()
  return {
    async delivered({ id, url, unwell }) {
      if (unwell) await change(needs, id, 'recovered', (tx) => markRecovered(tx, id, url), {})
    },
    async failed(asked, status, retryAfterMs) {
      const { id, url } = asked
      // by each of them: of many that fail at once only some are judged, and the longest pause counts
      const ms = holdMs(status, retryAfterMs)
      if (ms !== undefined) await holdDestination(needs.db, id, url, ms)
      await judgeOnce(judgements, id, () => judge(needs, asked, retryAfterMs))
    },
    gone: ({ id, url }) => disable(needs, id, 'gone', {}, url),
  }
}

interface Judgement {
  running: Promise<void>
  next: Promise<void> | undefined
}

/**
 * Of many failures at once one is judged, and after it one for all that came meanwhile: two hundred transactions that
 * wait for the same row would take every connection that the process has.
 */
function judgeOnce(
  judgements: Map<string, Judgement>,
  id: string,
  judging: () => Promise<void>,
): Promise<void> {
  const judgement = judgements.get(id)
  if (judgement === undefined) {
    const begun: Judgement = { running: judging(), next: undefined }
    judgements.set(id, begun)
    const end = () => {
      if (judgements.get(id) === begun && begun.next === undefined) judgements.delete(id)
    }
    begun.running.then(end, end)
    return begun.running
  }
  judgement.next ??= judgement.running
    .catch(() => {})
    .then(() => {
      judgements.delete(id)
      return judgeOnce(judgements, id, judging)
    })
  return judgement.next
}

async function judge(
  needs: HealthNeeds,
  { id, url }: Asked,
  retryAfterMs: number | undefined,
): Promise<void> {
  const facts = await readHealthFacts(needs.db, id)
  if (facts === undefined) return
  const probeMs = probeDelayMs(retryAfterMs)
  if (facts.breaker === 'open' && retryAfterMs !== undefined) await putOffProbe(needs.db, id, url, probeMs)
  const verdict = judgeHealth(facts)
  switch (verdict.kind) {
    case 'nothing':
      return
    case 'recovered':
      return change(needs, id, 'recovered', (tx) => markRecovered(tx, id), {})
    case 'failing': {
      const { since, open } = verdict
      const data = { since: since.toISOString(), breaker: open ? 'open' : 'closed' }
      const write = (tx: Transaction) =>
        open ? openBreaker(tx, id, since, probeMs) : markFailing(tx, id, since)
      return change(needs, id, 'failing', write, data)
    }
    case 'give_up':
      return disable(needs, id, 'failing', { since: verdict.since.toISOString() })
    default:
      return verdict satisfies never
  }
}

function disable(
  needs: HealthNeeds,
  id: string,
  reason: 'gone' | 'failing',
  data: JsonObject,
  url?: string,
): Promise<void> {
  const write = (tx: Transaction) => disableDestination(tx, id, reason, url)
  return change(needs, id, 'disabled', write, { reason, ...data })
}

async function change(
  needs: HealthNeeds,
  id: string,
  what: DestinationChange,
  write: (tx: Transaction) => Promise<Changed | undefined>,
  data: JsonObject,
): Promise<void> {
  const told = await needs.db.transaction(async (tx) => {
    const changed = await write(tx)
    if (changed === undefined) return false
    // A breaker that opens on what is known to be failing is no news.
    if (what === 'failing' && changed.failing_since !== null) return false
    const since = changed.failing_since?.toISOString()
    await audit(tx, { actor: 'system', action: `destination.${what}`, subject: id, detail: auditable(data) })
    await needs.ledger.record(tx, [
      {
        type: `destination.v1.${what}`,
        area: 'lifecycle',
        subject: subjectOf(id),
        data: {
          destination: { id, name: changed.name },
          ...(since === undefined ? {} : { since }),
          ...data,
        },
      },
    ])
    return true
  })
  if (!told) return
  needs.metrics.destinationChanges(what)
  const line = { destination: id, ...auditable(data) }
  if (what === 'recovered') needs.log.info(line, 'a destination has recovered')
  else if (what === 'failing') needs.log.warn(line, 'a destination is failing')
  else needs.log.error(line, 'a destination is disabled')
}

/** The subject by which matching keeps an event from the destination that it is about. */
export function subjectOf(destinationId: string): string {
  return `destinations/${destinationId}`
}

function auditable(data: JsonObject): Record<string, string> {
  return Object.fromEntries(
    Object.entries(data).flatMap(([name, value]) => (typeof value === 'string' ? [[name, value]] : [])),
  )
}
