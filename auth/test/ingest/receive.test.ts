/** The room between the door and the database: one deadline for a whole request, groups by weight, what is counted for whom. */
import type { AccountSignal, Fact, Lookup, Provider, Verdict } from '@flovify/providers'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { type Answer, type Ingest, type IngestNeeds, openIngest } from '../../src/ingest/receive.ts'
import { type Ledger, type NotificationToStore, openLedger } from '../../src/ledger/ledger.ts'
import { openLog } from '../../src/platform/log.ts'
import { type Metrics, openMetrics } from '../../src/platform/metrics.ts'
import { type TestDatabase, testDatabase } from '../database.ts'
import { until } from '../http/people.ts'

const signal: AccountSignal = { id: 'jti-1', kind: 'verification', accountKey: undefined, detail: undefined }
const fact = (type: string, identity?: string): Fact => ({
  type,
  identity,
  connectionId: 'con_a',
  subscriptionId: 'sub_a',
  originType: 'of.a.test',
  subject: undefined,
  time: undefined,
  data: {},
})
const CHANGE = 'mail.message.v1.created'
const told = (...facts: Fact[]): Verdict => ({ kind: 'verified', status: 202, facts, rejected: [] })

describe('receiving', () => {
  let t: TestDatabase
  let ledger: Ledger
  let metrics: Metrics
  let lines: string[]
  /** How many events each statement stored. */
  let groups: number[]
  beforeAll(async () => {
    t = await testDatabase()
    const row = await t.db.one<{ revision: string }>(sql`select revision from auth.rule_revision`)
    ledger = openLedger({
      rules: {
        current: () => ({ revision: row?.revision ?? '0', match: () => [] }),
        reload: () => Promise.reject(new Error('no rule changes here')),
      },
      clock: { now: () => new Date() },
      naming: { typePrefix: 'ca.flovify', origin: 'https://webhooks.example.com' },
    })
  })
  afterAll(() => t.close())
  beforeEach(() => {
    metrics = openMetrics()
    lines = []
    groups = []
  })

  const note = (items: readonly NotificationToStore[]) =>
    groups.push(items.reduce((sum, { events }) => sum + events.length, 0))
  const none = (items: readonly NotificationToStore[]) => {
    note(items)
    return { newEvents: [], duplicates: new Map<string, number>(), deliveries: 0 }
  }

  /** An ingest room whose providers judge by `verdict`; the rest of them is not used here. */
  function open(verdict: (body: string) => Promise<Verdict>, more: Partial<IngestNeeds> = {}): Ingest {
    const provider = (id: string) =>
      ({
        id,
        webhook: { judge: ({ body }: { body: Buffer }) => verdict(body.toString()) },
      }) as unknown as Provider
    return openIngest({
      db: t.db,
      ledger: {
        ...ledger,
        store: (db, items) => {
          note(items)
          return ledger.store(db, items)
        },
      },
      provider,
      lookup: () => ({ genuineRef: () => undefined }) as unknown as Lookup,
      notified: () => {},
      stored: () => {},
      sampleRejection: () => {},
      adoptOrphan: () => {},
      heedLifecycle: () => Promise.resolve(),
      storeSignals: () => Promise.resolve(),
      clock: { now: () => new Date() },
      metrics,
      log: openLog({ write: (line: string) => lines.push(line) }),
      ...more,
    })
  }
  const send = (ingest: Ingest, body: string, provider = 'microsoft'): Promise<Answer> =>
    ingest.receive(provider, {
      method: 'POST',
      ref: undefined,
      query: [],
      headers: {},
      body: Buffer.from(body),
    })
  const counted = async (name: string) =>
    (await metrics.page()).body
      .split('\n')
      .filter((line) => line.startsWith(`flovify_webhook_${name}_total{`))

  test.each<[string, Verdict, 'heedLifecycle' | 'storeSignals', string]>([
    [
      'a lifecycle message',
      told(fact('subscription.v1.removed'), fact(CHANGE)),
      'heedLifecycle',
      'a lifecycle message was not heeded',
    ],
    [
      'a security event',
      { kind: 'signals', status: 202, signals: [signal] },
      'storeSignals',
      'a security event could not be stored',
    ],
  ])(
    'WI-14 %s that is not written down in time is answered 503 by the deadline that judging has begun; what becomes of it is logged',
    async (_, verdict, writes, failed) => {
      const held = Promise.withResolvers<void>()
      let began = 0
      const ingest = open(() => new Promise((resolve) => setTimeout(resolve, 1_000, verdict)), {
        [writes]: () => {
          began += 1
          return held.promise
        },
      })
      const start = performance.now()
      expect(await send(ingest, 'late')).toMatchObject({ status: 503, retryAfterSeconds: 5 })
      // one deadline for both: a second one would be 3.3 s
      expect(performance.now() - start).toBeLessThan(3_000)
      expect(began).toBe(1)
      expect(await counted('overloads')).toEqual(['flovify_webhook_overloads_total{reason="write_slow"} 1'])
      expect(lines).toEqual([])
      held.reject(new Error('the database is away'))
      await until('what failed later is logged', () => lines.some((line) => line.includes(failed)))
      expect(await counted('overloads')).toHaveLength(1)
      await ingest.close()
    },
    5_000,
  )

  test('WI-14 what cannot be written down is answered 503 at once and logged; what is written down is acknowledged', async () => {
    let isAway = true
    const write = () => (isAway ? Promise.reject(new Error('away')) : Promise.resolve())
    const ingest = open(
      async (body) =>
        body === 'signal'
          ? { kind: 'signals', status: 202, signals: [signal] }
          : told(fact(`subscription.v1.${body}`)),
      { heedLifecycle: write, storeSignals: write },
    )
    for (const body of ['signal', 'missed']) expect((await send(ingest, body)).status).toBe(503)
    expect(await counted('overloads')).toEqual(['flovify_webhook_overloads_total{reason="unavailable"} 2'])
    expect(lines).toHaveLength(2)
    isAway = false
    for (const body of ['signal', 'missed']) expect((await send(ingest, body)).status).toBe(202)
    await ingest.close()
  })

  test('WI-13 what cannot be judged now is answered 503; what it would be rejected for is counted and sampled', async () => {
    const sampled: string[] = []
    const ingest = open(
      async () => ({ kind: 'unavailable', reason: 'unknown_key', rejected: ['unknown_key'] }),
      { sampleRejection: ({ reason }) => void sampled.push(reason) },
    )
    expect((await send(ingest, 'of a new key')).status).toBe(503)
    expect(await counted('overloads')).toEqual(['flovify_webhook_overloads_total{reason="unknown_key"} 1'])
    expect(await counted('signature_failures')).toEqual([
      'flovify_webhook_signature_failures_total{provider="microsoft",reason="unknown_key"} 1',
    ])
    expect(sampled).toEqual(['unknown_key'])
    await ingest.close()
  })

  test('groups are limited by events: requests of a thousand items do not share one statement, small ones do', async () => {
    const ingest = open(
      async (body) => told(...Array.from({ length: Number(body) }, () => fact(CHANGE))),
      // how long a statement takes is not the question here
      { ledger: { ...ledger, store: async (_, items) => none(items) } },
    )
    const sendAll = (requests: number, items: number) =>
      Promise.all(Array.from({ length: requests }, () => send(ingest, String(items))))
    const statusesOf = (answers: Answer[]) => new Set(answers.map(({ status }) => status))
    expect(statusesOf(await sendAll(16, 1_000))).toEqual(new Set([202]))
    expect(Math.max(...groups)).toBeLessThanOrEqual(2_000)
    expect(groups.reduce((sum, events) => sum + events, 0)).toBe(16_000)
    groups.length = 0
    expect(statusesOf(await sendAll(1, 5_000))).toEqual(new Set([202]))
    expect(statusesOf(await sendAll(200, 1))).toEqual(new Set([202]))
    expect(groups).toEqual([5_000, 200])
    await ingest.close()
  })

  test('duplicates are counted for the provider that sent them and not as events, also when a group is mixed', async () => {
    const ingest = open(async (body) => told(fact(CHANGE, body)))
    await send(ingest, 'known', 'microsoft')
    groups.length = 0
    const answers = await Promise.all([send(ingest, 'new', 'google'), send(ingest, 'known', 'microsoft')])
    expect(answers.map(({ status }) => status)).toEqual([202, 202])
    expect(groups).toEqual([2])
    expect(await counted('duplicates')).toEqual(['flovify_webhook_duplicates_total{provider="microsoft"} 1'])
    expect(await counted('events')).toEqual([
      `flovify_webhook_events_total{provider="microsoft",type="${CHANGE}"} 1`,
      `flovify_webhook_events_total{provider="google",type="${CHANGE}"} 1`,
    ])
    await ingest.close()
  })
})
