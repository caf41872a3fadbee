/**
 * Judge, group, acknowledge. A notification is judged by its provider; what is genuine is stored with its events and
 * their deliveries; only then it is answered 2xx. A handshake is answered without the database. Never tells a sender
 * why it was refused.
 */
import type {
  AccountSignal,
  Fact,
  Lookup,
  NotificationRequest,
  Orphan,
  Provider,
  Verdict,
} from '@flovify/providers'
import type { Db } from '../db/sql.ts'
import type { Ledger, NotificationToStore } from '../ledger/ledger.ts'
import { type Clock, monotonicMs } from '../platform/clock.ts'
import { errorFields, type Log } from '../platform/log.ts'
import type { Metrics } from '../platform/metrics.ts'
import { eventOf } from './event-of.ts'
import { type Commit, openGroupCommit } from './group-commit.ts'
import { ANSWER_MS, judgedInTime, writtenInTime } from './in-time.ts'
import { keptHeaders } from './kept-headers.ts'
import type { Refused } from './rejection-sample.ts'

export interface IngestNeeds {
  readonly db: Db
  readonly ledger: Ledger
  readonly provider: (id: string) => Provider | undefined
  readonly lookup: (providerId: string) => Lookup
  /** Told after the commit; may be lost. */
  readonly notified: (subscriptionIds: readonly string[]) => void
  /** Told after the commit, of how many deliveries it made; may be lost. */
  readonly stored: (deliveries: number) => void
  /** Told of what is not genuine; may forget it. */
  readonly sampleRejection: (refused: Refused) => void
  /** One of ours that belongs to nobody. May be lost: its next message says it again. */
  readonly adoptOrphan: (orphan: Orphan) => void
  /** Writes down what has to be done about subscriptions that a provider says something of. */
  readonly heedLifecycle: (facts: readonly Fact[]) => Promise<void>
  /** Resolves when they are committed. */
  readonly storeSignals: (providerId: string, signals: readonly AccountSignal[]) => Promise<void>
  readonly clock: Clock
  readonly metrics: Metrics
  readonly log: Log
}

export interface Answer {
  readonly status: number
  readonly body?: string
  readonly contentType?: 'text/plain' | 'application/json'
  readonly retryAfterSeconds?: number
  /** What its sender pays for; absent: decided by the status. */
  readonly forged?: number
}

export interface Ingest {
  /** The body limit and methods of a provider; undefined for an unknown or switched-off one. */
  limits(providerId: string): { bodyLimitBytes: number; methods: readonly string[] } | undefined
  /** Whether a ref is not ours: known before the body is read. Counted. */
  isForged(providerId: string, ref: string): boolean
  /** Counts a request that was refused before its body was read. */
  turnedAway(providerId: string, reason: 'bad_ref' | 'bad_address', headerNames: readonly string[]): void
  receive(providerId: string, request: NotificationRequest): Promise<Answer>
  close(): Promise<void>
}

const RETRY_LATER: Answer = { status: 503, retryAfterSeconds: 5 }

/** So little judging does not count: timers of one duration are cheaper than one duration each. */
const NEGLIGIBLE_MS = 100
/** What an event weighs beside the bytes that told it: its row, its key and its delivery. A few thousand make a full group. */
const EVENT_BYTES = 1_500

export function openIngest(needs: IngestNeeds): Ingest {
  const group = openGroupCommit<NotificationToStore>({
    store: async (items) => {
      const stored = await needs.ledger.store(needs.db, items)
      for (const { provider, type, count } of stored.newEvents)
        if (provider !== null) needs.metrics.events(provider, type, count)
      for (const [provider, count] of stored.duplicates) needs.metrics.duplicates(provider, count)
      needs.stored(stored.deliveries)
    },
    sizeOf: (item) => item.body.length + 512 + item.events.length * EVENT_BYTES,
    groupSize: 256,
    groupBytes: 4 * 1024 * 1024,
    flushers: 4,
    bufferItems: 4_096,
    bufferBytes: 64 * 1024 * 1024,
    answerMs: ANSWER_MS,
    onGroup: (size) => needs.metrics.groupSize(size),
    onFailure: (error, size) =>
      needs.log.error({ size, ...errorFields(error) }, 'a group could not be stored'),
  })
  return {
    limits(providerId) {
      const webhook = needs.provider(providerId)?.webhook
      return webhook === undefined
        ? undefined
        : { bodyLimitBytes: webhook.bodyLimitBytes, methods: webhook.methods }
    },
    isForged: (providerId, ref) => needs.lookup(providerId).genuineRef(ref) === undefined,
    turnedAway(providerId, reason, headerNames) {
      needs.metrics.signatureFailures(providerId, reason)
      needs.sampleRejection({ provider: providerId, reason, headerNames })
    },
    async receive(providerId, request) {
      const provider = needs.provider(providerId)
      if (provider === undefined) return { status: 404 }
      const receivedAt = needs.clock.now()
      const lookup = needs.lookup(providerId)
      const began = monotonicMs()
      const verdict = await judgedInTime(judge(needs, provider, request, lookup))
      const reject = (reason: string) => {
        needs.metrics.signatureFailures(providerId, reason)
        const { headers, body, ref } = request
        const of = { body, subscriptionId: ref === undefined ? undefined : lookup.genuineRef(ref) }
        needs.sampleRejection({ provider: providerId, reason, headerNames: Object.keys(headers), ...of })
      }
      const judgingMs = monotonicMs() - began
      /** Before it is acknowledged, within what is left of the time of this request. */
      const isWritten = (failed: string, write: () => Promise<void>) =>
        writtenInTime(needs, providerId, Math.max(0, ANSWER_MS - (monotonicMs() - began)), failed, write)
      switch (verdict.kind) {
        case 'handshake':
          needs.metrics.handshakes(providerId)
          return { status: 200, body: verdict.body, contentType: 'text/plain' }
        case 'rejected':
          for (const reason of [verdict.reason, ...(verdict.others ?? [])]) reject(reason)
          if (verdict.orphan !== undefined) needs.adoptOrphan(verdict.orphan)
          return { status: verdict.status, forged: verdict.forged ?? 1 }
        case 'unavailable':
          for (const reason of verdict.rejected ?? []) reject(reason)
          needs.metrics.overloads(verdict.reason)
          return RETRY_LATER
        case 'signals':
          // what a provider says about accounts is stored by the connections room
          return (await isWritten('a security event could not be stored', () =>
            needs.storeSignals(providerId, verdict.signals),
          ))
            ? { status: verdict.status }
            : RETRY_LATER
        case 'verified': {
          for (const reason of verdict.rejected) reject(reason)
          const answer: Answer = {
            status: verdict.status,
            forged: verdict.forged ?? 0,
            ...(verdict.answer === undefined
              ? {}
              : { body: verdict.answer, contentType: 'application/json' as const }),
          }
          // Genuine but about nobody we know: acknowledged, since a repetition would change nothing.
          if (verdict.facts.length === 0) return answer
          const notification = {
            provider: providerId,
            ref: request.ref === undefined ? null : (lookup.genuineRef(request.ref) ?? null),
            receivedAt,
            headers: keptHeaders(request),
            body: request.body,
            events: verdict.facts.map((fact) => eventOf(providerId, fact)),
          }
          const commit = await group.add(
            notification,
            judgingMs < NEGLIGIBLE_MS ? undefined : Math.max(0, ANSWER_MS - judgingMs),
          )
          return await settled(needs, providerId, verdict.facts, commit, answer, isWritten)
        }
        default:
          return verdict satisfies never
      }
    },
    close: () => group.close(),
  }
}

/** A provider never throws by contract; if one does, the request is refused for now and the fault is ours. */
async function judge(
  needs: IngestNeeds,
  provider: Provider,
  request: NotificationRequest,
  lookup: Lookup,
): Promise<Verdict> {
  try {
    return await provider.webhook.judge(request, lookup)
  } catch (error) {
    needs.log.error({ provider: provider.id, ...errorFields(error) }, 'judging a notification failed')
    return { kind: 'unavailable', reason: 'judge_failed' }
  }
}

async function settled(
  needs: IngestNeeds,
  providerId: string,
  facts: readonly Fact[],
  commit: Commit,
  answer: Answer,
  isWritten: (failed: string, write: () => Promise<void>) => Promise<boolean>,
): Promise<Answer> {
  switch (commit) {
    case 'stored': {
      // what was said about a subscription itself has to be acted on
      const said = facts.filter(isAboutItself)
      if (
        said.length > 0 &&
        !(await isWritten('a lifecycle message was not heeded', () => needs.heedLifecycle(said)))
      )
        return RETRY_LATER
      for (const { unreadable } of facts)
        if (unreadable !== undefined) needs.metrics.unreadable(providerId, unreadable)
      // what it says of itself is no push: a silent one may go on asking to be renewed
      const subscriptions = facts.flatMap((fact) =>
        fact.subscriptionId === undefined || isAboutItself(fact) ? [] : [fact.subscriptionId],
      )
      if (subscriptions.length > 0) needs.notified(subscriptions)
      return answer
    }
    case 'overloaded':
    case 'unavailable':
    case 'poison':
      needs.metrics.overloads(commit)
      return RETRY_LATER
    default:
      return commit satisfies never
  }
}

/** No push: a silent one may go on asking to be renewed. */
const isAboutItself = (fact: Fact) => fact.type.startsWith('subscription.v1.')
