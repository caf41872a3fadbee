import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { listTurns, openCallPace } from '../../src/subscriptions/call-pace.ts'
import { openCallPlaces } from '../../src/subscriptions/call-places.ts'
import { type Ground, openGround } from '../connections/ground.ts'

describe('the pace of calls about subscriptions', () => {
  let g: Ground
  const calls: number[] = []
  const answer: typeof fetch = async () => {
    calls.push(performance.now())
    return new Response('{}')
  }
  const open = () =>
    openCallPace({ db: g.db, fetch: answer, monotonicMs: () => performance.now() }, [
      { id: 'paced', callLimits: { changesPerSecond: 5, listsPerSecond: 1 } },
      { id: 'other' },
    ])
  beforeAll(async () => {
    g = await openGround()
  })
  afterAll(() => g.close())
  beforeEach(async () => {
    calls.length = 0
    await g.db.rows(sql`delete from auth.call_pace`)
  })

  test('WI-16 no second sees more than per_second, whoever of two processes calls', async () => {
    const [mine, theirs] = [await open(), await open()]
    await g.db.rows(sql`update auth.call_pace set per_second = 20`)
    await Promise.all(
      Array.from({ length: 40 }, (_, n) => (n % 2 === 0 ? mine : theirs)('paced')('http://localhost/')),
    )
    expect(calls).toHaveLength(40)
    const sorted = calls.toSorted((a, b) => a - b)
    for (const [n, at] of sorted.entries())
      expect(
        sorted.filter((other) => other >= at && other < at + 1_000).length,
        `from call ${n}`,
      ).toBeLessThanOrEqual(20)
  })

  test('providers do not wait for one another, and a row from before the clock went back holds nobody', async () => {
    const callOf = await open()
    await g.db.rows(
      sql`update auth.call_pace set next_at = auth.clock() + interval '40 seconds' where provider = 'paced'`,
    )
    await callOf('other')('http://localhost/')
    expect(calls).toHaveLength(1)
    await g.db.rows(
      sql`update auth.call_pace set next_at = auth.clock() + interval '3 days' where provider = 'paced'`,
    )
    await callOf('paced')('http://localhost/')
    expect(calls).toHaveLength(2)
  })

  test('whose time ends while waiting calls nobody, and an unknown provider is refused', async () => {
    const callOf = await open()
    await g.db.rows(sql`update auth.call_pace set next_at = auth.clock() + interval '40 seconds'`)
    const abort = new AbortController()
    const waiting = callOf('paced')('http://localhost/', { signal: abort.signal })
    setTimeout(() => abort.abort(), 50)
    await expect(waiting).rejects.toThrow()
    await expect(callOf('nobody')('http://localhost/')).rejects.toMatchObject({ code: 'no_pace' })
    expect(calls).toHaveLength(0)
  })

  test('WI-16 what changes something keeps a stricter pace beside what reads', async () => {
    const callOf = await open()
    await g.db.rows(
      sql`update auth.call_pace set next_at = auth.clock() + interval '40 seconds' where provider = 'paced/changes'`,
    )
    await callOf('paced')('http://localhost/')
    expect(calls).toHaveLength(1)
    const abort = new AbortController()
    const waiting = callOf('paced')('http://localhost/', { method: 'POST', signal: abort.signal })
    setTimeout(() => abort.abort(), 50)
    await expect(waiting).rejects.toThrow()
    const { per_second: perSecond } =
      (await g.db.one<{ per_second: number }>(
        sql`select per_second from auth.call_pace where provider = 'paced/changes'`,
      )) ?? {}
    expect(perSecond).toBe(5)
  })

  test('WI-16 a list is asked for when it has a turn soon enough, and left to another day when it has not', async () => {
    await open()
    const turn = listTurns({ db: g.db, monotonicMs: () => performance.now() })
    const { signal } = new AbortController()
    expect(await turn('paced', 0, signal)).toBe(true)
    expect(await turn('paced', 0, signal)).toBe(false)
    // the one that was refused took no turn from others: 1.25 seconds after the first
    expect(await turn('paced', 2, signal)).toBe(true)
    expect(await turn('other', 0, signal)).toBe(true)
  })
})

describe('places of one connection', () => {
  test('WI-16 two calls of one connection at a time; another connection does not wait', async () => {
    const places = openCallPlaces()
    const { signal } = new AbortController()
    const busy = { a: 0, b: 0 }
    let most = 0
    const ends: (() => void)[] = []
    const call = (of: 'a' | 'b') =>
      places.within(of, signal, async () => {
        busy[of] += 1
        most = Math.max(most, busy.a)
        await new Promise<void>((resolve) => ends.push(resolve))
        busy[of] -= 1
      })
    const all = [call('a'), call('a'), call('a'), call('a'), call('b')]
    await turnOfTheLoop()
    expect(busy).toEqual({ a: 2, b: 1 })
    while (ends.length > 0) {
      ends.shift()?.()
      await turnOfTheLoop()
    }
    await Promise.all(all)
    expect({ most, busy }).toEqual({ most: 2, busy: { a: 0, b: 0 } })
  })

  test('WI-16 a newcomer in the moment in which a place is handed on waits like everybody', async () => {
    const places = openCallPlaces(1)
    const { signal } = new AbortController()
    let busy = 0
    let most = 0
    const call = () =>
      places.within('a', signal, async () => {
        busy += 1
        most = Math.max(most, busy)
        await turnOfTheLoop()
        busy -= 1
      })
    const newcomer = call().then(call)
    await Promise.all([newcomer, call(), call().then(call)])
    expect({ most, busy }).toEqual({ most: 1, busy: 0 })
  })

  test('who gives up waiting leaves the place to the next, and what throws gives its place back', async () => {
    const places = openCallPlaces(1)
    const { signal } = new AbortController()
    const gone = new AbortController()
    let end: (() => void) | undefined
    const first = places.within(
      'a',
      signal,
      () =>
        new Promise<void>((resolve) => {
          end = resolve
        }),
    )
    const second = places.within('a', gone.signal, async () => 'never')
    const third = places.within('a', signal, async () => Promise.reject(new Error('broke')))
    const fourth = places.within('a', signal, async () => 'fourth')
    gone.abort(new Error('gone'))
    await expect(second).rejects.toThrow('gone')
    end?.()
    await first
    await expect(third).rejects.toThrow('broke')
    expect(await fourth).toBe('fourth')
  })
})

const turnOfTheLoop = () => new Promise((resolve) => setTimeout(resolve, 5))
