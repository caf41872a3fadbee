/** Refresh ahead: when rows are due, how fast they are worked on, and a provider that is away for two hours. */
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { completeFlow } from '../../src/connections/complete.ts'
import { disconnect } from '../../src/connections/disconnect.ts'
import { openRefreshLimits } from '../../src/connections/refresh-limits.ts'
import { sql } from '../../src/db/sql.ts'
import { openWorker } from '../../src/work/work.ts'
import { bindingOf, granted } from './ground.ts'
import { failing, openRefreshGround, type RefreshGround, renewed } from './refresh-ground.ts'

let g: RefreshGround
beforeAll(async () => {
  g = await openRefreshGround()
})
afterAll(() => g.shut())
beforeEach(() => g.reset())

describe('due rows', () => {
  test('connecting makes one, at 20 to 35 % of the lifetime left and spread; disconnecting ends it', async () => {
    const dues: number[] = []
    for (let i = 0; i < 12; i += 1) {
      const user = await g.user(`user-${i}@example.com`)
      const { ticket } = await g.ticketFor(user, 'google', `code-${i}`)
      g.google.exchangeWith = async () => granted({ expiresAt: new Date(Date.now() + 3_600_000) })
      const done = await completeFlow(g.needs, {
        ticket,
        userId: user,
        sessionBinding: bindingOf(`session of ${user}`),
      })
      if (done.kind !== 'connected') throw new Error(done.kind)
      dues.push((await g.due(done.connectionId))?.in_seconds ?? 0)
      await disconnect(g.needs, done.connectionId, { userId: user, role: 'user' })
      expect(await g.due(done.connectionId)).toBeUndefined()
    }
    for (const seconds of dues) {
      expect(seconds).toBeGreaterThan(0.65 * 3600 - 5)
      expect(seconds).toBeLessThanOrEqual(0.8 * 3600)
    }
    expect(Math.max(...dues) - Math.min(...dues)).toBeGreaterThan(60)
  })

  test('a refresh plans the next one', async () => {
    const { work } = g.instance()
    const id = await g.seed({ due: true })
    g.behaviour.refresh = async () => renewed(g, 'access-2')
    expect(await work()).toBe(1)
    expect(await work()).toBe(0)
    expect((await g.due(id))?.in_seconds).toBeGreaterThan(2_000)
    await g.later(2_900)
    expect(await work()).toBe(1)
    expect(g.asked).toHaveLength(2)
  })

  test('a row whose work ended the process three times rests for an hour', async () => {
    const { kind, db } = g.instance()
    const id = await g.seed({ due: true })
    await g.db.rows(sql`update auth.refreshes set claims = 3`)
    const [row] = await kind.claim(db, { id: crypto.randomUUID(), seconds: 30, limit: 5 })
    if (row === undefined) throw new Error('nothing claimed')
    expect(row.claims).toBe(4)
    await kind.poison(db, row)
    expect((await g.due(id))?.in_seconds).toBeGreaterThan(3_500)
    expect(await g.connection(id)).toMatchObject({ status: 'active' })
  })
})

describe('limits', () => {
  test('RE-10 500 connections that expire in the same minute: never faster than the cap, never more at once, none twice', async () => {
    const concurrency = 8
    const perSecond = 100
    await g.setRate(perSecond)
    // two processes, as far as the pace knows
    const processes = [g.instance({ concurrency }), g.instance({ concurrency })]
    const owner = await g.user('owner@example.com')
    const seeded: string[] = []
    for (let i = 0; i < 500; i += 1)
      seeded.push(
        await g.seed({ ownerId: owner, refreshToken: `refresh of ${i}`, leftSeconds: 60, due: true }),
      )
    const begun: number[] = []
    let atOnce = 0
    let mostAtOnce = 0
    g.behaviour.refresh = async () => {
      begun.push(performance.now())
      atOnce += 1
      mostAtOnce = Math.max(mostAtOnce, atOnce)
      await pause(5)
      atOnce -= 1
      return renewed(g, 'access-2')
    }
    const workers = processes.map(({ kind, needs, db }) =>
      openWorker({ db, log: needs.log, metrics: needs.metrics }, [kind]),
    )
    for (const worker of workers) worker.start()
    for (const end = performance.now() + 20_000; begun.length < 500 && performance.now() < end; )
      await pause(50)
    await pause(300)
    await Promise.all(workers.map((worker) => worker.drain(2_000)))
    expect(g.asked).toHaveLength(500)
    expect(new Set(g.asked).size).toBe(500)
    expect(mostAtOnce).toBeLessThanOrEqual(2 * concurrency)
    const busiest = Math.max(
      ...begun.map((from) => begun.filter((at) => at >= from && at < from + 1_000).length),
    )
    expect(busiest).toBeLessThanOrEqual(perSecond)
    const rows = await g.db.rows<{ version: number; n: string }>(
      sql`select version, count(*) n from auth.oauth_tokens group by 1`,
    )
    expect(rows).toEqual([{ version: 2, n: '500' }])
    // the next time they are spread over a tenth of an hour and more
    const spread = await g.db.one<{ seconds: number }>(
      sql`select extract(epoch from max(due_at) - min(due_at))::float8 seconds from auth.refreshes`,
    )
    expect(spread?.seconds).toBeGreaterThan(300)
    expect(seeded).toHaveLength(500)
  })

  test('a slow provider takes nothing from another', async () => {
    const { kind, db } = g.instance({ concurrency: 2 })
    for (let i = 0; i < 5; i += 1) await g.seed({ provider: 'google', due: true })
    for (let i = 0; i < 5; i += 1) await g.seed({ provider: 'microsoft', due: true })
    const rows = await kind.claim(db, { id: crypto.randomUUID(), seconds: 30, limit: 16 })
    expect(rows.map(({ provider }) => provider).sort()).toEqual([
      'google',
      'google',
      'microsoft',
      'microsoft',
    ])
    expect(await kind.claim(db, { id: crypto.randomUUID(), seconds: 30, limit: 16 })).toEqual([])
  })

  test('F15 Retry-After holds the provider for all processes, readers too; the other provider goes on', async () => {
    const [a, b] = [g.instance(), g.instance()]
    const first = await g.seed({ leftSeconds: -1, due: true })
    g.behaviour.refresh = failing({ class: 'throttled', code: 'http_429', retryAfterSeconds: 60 })
    await a.work()
    expect(g.asked).toHaveLength(1)
    const second = await g.seed({ leftSeconds: -1, due: true })
    const other = await g.seed({ provider: 'microsoft', leftSeconds: -1 })
    g.behaviour.refresh = async () => renewed(g, 'access-2')
    expect(await b.work()).toBe(0)
    expect(await b.reader.read(second, 60)).toMatchObject({ kind: 'unavailable', retryAfterSeconds: 60 })
    expect(await b.reader.read(other, 60)).toMatchObject({ kind: 'token' })
    await g.later(61)
    expect(await b.reader.read(second, 60)).toMatchObject({ kind: 'token' })
    expect(await g.connection(first)).toMatchObject({ status: 'active' })
  })

  test('F15 a long Retry-After is kept to by its connection, and by the others for five minutes', async () => {
    const { work } = g.instance()
    const id = await g.seed({ due: true })
    g.behaviour.refresh = failing({ class: 'throttled', code: 'http_429', retryAfterSeconds: 1_800 })
    await work()
    const { held_seconds } = await g.paceOf('google')
    expect(held_seconds).toBeGreaterThan(290)
    expect(held_seconds).toBeLessThanOrEqual(300)
    expect((await g.due(id))?.in_seconds).toBeGreaterThan(1_790)
  })

  test('F13 after five failures in a row one probe at a time over all processes, with growing pauses up to a minute; a success ends it', async () => {
    const instances = [g.instance(), g.instance()]
    g.behaviour.refresh = failing({ class: 'transient', code: 'timeout' })
    const claimAll = async () => {
      const counts = await Promise.all(instances.map(({ work }) => work()))
      return counts.reduce((sum, count) => sum + count, 0)
    }
    for (let i = 0; i < 16; i += 1) await g.seed({ due: true })
    // what was under way together is one accident, not several
    await claimAll()
    const down = await g.paceOf('google')
    expect(down.failures).toBe(5)
    expect(down.held_seconds).toBeGreaterThan(2.4)
    expect(down.held_seconds).toBeLessThanOrEqual(5)
    expect(await claimAll()).toBe(0)
    const pauses: number[] = []
    for (let probe = 0; probe < 8; probe += 1) {
      await g.later((await g.paceOf('google')).held_seconds + 0.1)
      for (let i = 0; i < 4; i += 1) await g.seed({ due: true })
      expect(await claimAll()).toBe(1)
      pauses.push((await g.paceOf('google')).held_seconds)
    }
    expect(pauses[0]).toBeGreaterThan(4.9)
    expect(pauses[1]).toBeGreaterThan(9.9)
    for (const seconds of pauses) expect(seconds).toBeLessThanOrEqual(60)
    expect(pauses.at(-1)).toBeGreaterThan(29)
    g.behaviour.refresh = async () => renewed(g, 'access-2')
    await g.later(61)
    expect(await claimAll()).toBe(1)
    expect(await g.paceOf('google')).toMatchObject({ failures: 0, held_seconds: 0 })
    expect(await claimAll()).toBeGreaterThan(1)
  })

  test('T17 a reader gets its turn at once while workers of two processes have a backlog of thousands', async () => {
    await g.setRate(20)
    const workers = [g.instance({ concurrency: 2 }), g.instance({ concurrency: 2 })].map(
      ({ kind, needs, db }) => openWorker({ db, log: needs.log, metrics: needs.metrics }, [kind]),
    )
    const owner = await g.user('owner@example.com')
    for (let i = 0; i < 100; i += 1) await g.seed({ ownerId: owner, due: true })
    g.behaviour.refresh = async () => {
      await pause(120)
      return renewed(g, 'access-2')
    }
    for (const worker of workers) worker.start()
    await pause(400)
    const { reader } = g.instance({ concurrency: 2 })
    const waits: number[] = []
    for (let i = 0; i < 5; i += 1) {
      const id = await g.seed({ ownerId: owner, leftSeconds: -1 })
      const before = performance.now()
      expect(await reader.read(id, 60)).toMatchObject({ kind: 'token' })
      waits.push(performance.now() - before)
    }
    await Promise.all(workers.map((worker) => worker.drain(2_000)))
    // behind at most a quarter of a second of turns: the backlog has seconds
    expect(Math.max(...waits)).toBeLessThan(2_000)
    const left = await g.db.one<{ n: string }>(
      sql`select count(*) n from auth.refreshes where due_at <= auth.clock()`,
    )
    expect(Number(left?.n)).toBeGreaterThan(20)
  })

  test('T17 a place that a reader waits for is not given to the worker', async () => {
    const limits = openRefreshLimits({ monotonicMs: () => performance.now() }, 2)
    const taken = limits.reserve('google', 8)
    expect(taken).toHaveLength(2)
    const waiting = limits.admit('google', 5_000)
    taken[0]?.end()
    expect(limits.reserve('google', 8)).toEqual([])
    expect(await waiting).toBeDefined()
    expect(limits.reserve('microsoft', 8)).toHaveLength(2)
  })

  test('RE-10 a turn that a process is late for is not used: another is taken', async () => {
    const { needs } = g.instance()
    await g.setRate(10)
    const turn = needs.pace.turnOf({ in_seconds: 0, failures: 0, alarmed: false }, performance.now() - 10_000)
    const begun = await needs.pace.begin('google', turn)
    expect(begun.kind === 'begin' && begun.turn !== turn).toBe(true)
    // one turn of the row was used up
    expect((await g.paceOf('google')).ahead_seconds).toBeGreaterThan(0.02)
  })

  test('F15 a reader that looked before the provider asked for a pause gets no turn in it', async () => {
    const { needs } = g.instance()
    await g.db.rows(sql`update auth.refresh_pace set held_until = auth.clock() + interval '40 seconds'`)
    const begun = await needs.pace.begin('google', undefined)
    expect(begun.kind === 'later' && begun.inSeconds > 30).toBe(true)
    expect(await g.paceOf('google')).toMatchObject({ ahead_seconds: 0 })
  })

  test('RE-10 a clock that went back does not stop refreshing', async () => {
    const { work } = g.instance()
    await g.seed({ due: true })
    g.behaviour.refresh = async () => renewed(g, 'access-2')
    await g.db.rows(sql`
      update auth.refresh_pace set next_at = auth.clock() + interval '3 days', held_until = auth.clock() + interval '3 days'`)
    expect(await work()).toBe(1)
    expect(g.asked).toHaveLength(1)
  })
})

describe('F13 the provider is away for two hours', () => {
  test('F13 once it counts as down, a token is served at once to its last second, whatever time is asked; over, it is 503 with the rest of the pause', async () => {
    const { reader } = g.instance()
    g.behaviour.refresh = failing({ class: 'transient', code: 'timeout' })
    for (let i = 0; i < 5; i += 1) await reader.read(await g.seed({ leftSeconds: -1 }), 60)
    const { held_seconds } = await g.paceOf('google')
    expect(held_seconds).toBeGreaterThan(2)
    g.asked.length = 0
    // a provider that would never answer: nobody waits for it
    g.behaviour.refresh = () => new Promise(() => {})
    for (const leftSeconds of [2_500, 50, 3]) {
      const id = await g.seed({ leftSeconds })
      const read = await reader.read(id, 3_000)
      expect(read).toMatchObject({ kind: 'token' })
      if (read.kind === 'token')
        expect(read.expiresAt.getTime() - Date.now()).toBeLessThanOrEqual(leftSeconds * 1_000)
    }
    const over = await reader.read(await g.seed({ leftSeconds: -1 }), 60)
    expect(over).toMatchObject({ kind: 'unavailable' })
    if (over.kind === 'unavailable')
      expect(over.retryAfterSeconds).toBeLessThanOrEqual(Math.ceil(held_seconds))
    expect(g.asked).toEqual([])
  })

  test('RE-08 F13 valid tokens are served until their expiry, no connection needs its user, and work resumes by itself', async () => {
    const { reader, work } = g.instance()
    const owner = await g.user('owner@example.com')
    const ids: string[] = []
    for (let i = 0; i < 40; i += 1)
      ids.push(await g.seed({ ownerId: owner, leftSeconds: 3_600 - i, refreshToken: `refresh of ${i}` }))
    const [first = ''] = ids
    g.behaviour.refresh = failing({ class: 'transient', code: 'timeout' })
    let served = 0
    let refused = 0
    for (let minute = 0; minute < 120; minute += 1) {
      await work()
      const read = await reader.read(first, 60)
      if (read.kind === 'token') served += 1
      else {
        expect(read).toMatchObject({ kind: 'unavailable' })
        refused += 1
      }
      await g.later(60)
    }
    // served to the last minute of its hour, refused for the other
    expect([served, refused]).toEqual([60, 60])
    const statuses = () =>
      g.db.rows<{ status: string; n: string }>(
        sql`select status, count(*) n from auth.oauth_tokens group by 1`,
      )
    expect(await statuses()).toEqual([{ status: 'active', n: '40' }])
    expect(await g.events()).toEqual([])
    // a probe a minute and not forty connections a try
    expect(g.asked.length).toBeLessThan(200)
    g.behaviour.refresh = async () => renewed(g, 'access-2')
    g.asked.length = 0
    for (let second = 0; second < 300; second += 10) {
      await work()
      await g.later(10)
    }
    expect(g.asked).toHaveLength(40)
    expect(new Set(g.asked).size).toBe(40)
    expect(await statuses()).toEqual([{ status: 'active', n: '40' }])
    expect(await reader.read(first, 60)).toMatchObject({ kind: 'token' })
  }, 60_000)
})
