import { describe, expect, test } from 'vitest'
import { type GroupOptions, openGroupCommit } from '../../src/ingest/group-commit.ts'

const state = (code: string) => Object.assign(new Error(code), { code })

function commit(store: GroupOptions<string>['store'], more: Partial<GroupOptions<string>> = {}) {
  return openGroupCommit<string>({
    store,
    sizeOf: (item) => item.length,
    groupSize: 4,
    groupBytes: 1000,
    flushers: 2,
    bufferItems: 100,
    bufferBytes: 1000,
    answerMs: 1000,
    ...more,
  })
}

describe('group commit', () => {
  test('answers each request by the commit that holds it', async () => {
    const groups: string[][] = []
    const group = commit(async (items) => {
      groups.push([...items])
    })
    expect(await Promise.all(['a', 'b', 'c', 'd', 'e'].map((item) => group.add(item)))).toEqual(
      Array(5).fill('stored'),
    )
    expect(groups.flat().sort()).toEqual(['a', 'b', 'c', 'd', 'e'])
    expect(groups.length).toBeLessThan(5)
    expect(Math.max(...groups.map((items) => items.length))).toBeLessThanOrEqual(4)
  })

  test('nothing is answered as stored before its statement has ended', async () => {
    let finish = () => {}
    const group = commit(() => new Promise<void>((resolve) => (finish = resolve)))
    let answer: string | undefined
    const waiting = group.add('a').then((commitment) => (answer = commitment))
    await new Promise((resolve) => setTimeout(resolve, 30))
    expect(answer).toBeUndefined()
    finish()
    await waiting
    expect(answer).toBe('stored')
  })

  test('a data error splits the group until the bad one stands alone', async () => {
    const stored: string[] = []
    const group = commit(async (items) => {
      if (items.includes('bad')) throw state('22P05')
      stored.push(...items)
    })
    expect(await Promise.all(['a', 'bad', 'c', 'd'].map((item) => group.add(item)))).toEqual([
      'stored',
      'poison',
      'stored',
      'stored',
    ])
    expect(stored.sort()).toEqual(['a', 'c', 'd'])
  })

  test('a deadlock is retried once, then refused for now', async () => {
    let calls = 0
    const once = commit(async () => {
      calls += 1
      if (calls === 1) throw state('40P01')
    })
    expect(await once.add('a')).toBe('stored')
    expect(calls).toBe(2)
    expect(await commit(() => Promise.reject(state('40P01'))).add('a')).toBe('unavailable')
  })

  test('a lost database refuses the group without splitting it', async () => {
    let calls = 0
    const group = commit(() => {
      calls += 1
      return Promise.reject(state('ECONNREFUSED'))
    })
    expect(await Promise.all([group.add('a'), group.add('b')])).toEqual(['unavailable', 'unavailable'])
    expect(calls).toBe(1)
  })

  test('a full buffer refuses at once, by number and by bytes', async () => {
    const stuck = () => new Promise<void>(() => {})
    const few = commit(stuck, { bufferItems: 2, answerMs: 50 })
    const answers = ['a', 'b', 'c'].map((item) => few.add(item))
    expect(await answers[2]).toBe('overloaded')
    const small = commit(stuck, { bufferBytes: 10, answerMs: 50 })
    expect(await small.add('x'.repeat(11))).toBe('overloaded')
    await Promise.all(answers)
  })

  test('WI-14 a statement that hangs is answered as unavailable within the deadline', async () => {
    const group = commit(() => new Promise<void>(() => {}), { answerMs: 60 })
    const started = performance.now()
    expect(await group.add('a')).toBe('unavailable')
    expect(performance.now() - started).toBeLessThan(1000)
  })

  test('closing waits for what was admitted and admits nothing more', async () => {
    let stored = 0
    const group = commit(async (items) => {
      await new Promise((resolve) => setTimeout(resolve, 20))
      stored += items.length
    })
    const all = Array.from({ length: 10 }, (_, i) => group.add(String(i)))
    const closed = group.close()
    expect(await group.add('late')).toBe('overloaded')
    await closed
    expect(stored).toBe(10)
    expect(new Set(await Promise.all(all))).toEqual(new Set(['stored']))
  })

  test('a group is limited in bytes; a larger item goes alone', async () => {
    const groups: number[] = []
    const group = commit(
      async (items) => {
        groups.push(items.reduce((sum, item) => sum + item.length, 0))
      },
      { groupBytes: 100, bufferBytes: 10_000, groupSize: 50 },
    )
    await Promise.all([
      ...Array.from({ length: 10 }, () => group.add('x'.repeat(40))),
      group.add('y'.repeat(300)),
    ])
    expect(Math.max(...groups.filter((bytes) => bytes !== 300))).toBeLessThanOrEqual(100)
    expect(groups).toContain(300)
  })

  test('what was already refused is not stored behind its back, and does not hold newcomers up', async () => {
    const stored: string[] = []
    let release = () => {}
    const hang = new Promise<void>((resolve) => {
      release = resolve
    })
    const begun = Promise.withResolvers<void>()
    let first = true
    const group = commit(
      async (items) => {
        if (first) {
          first = false
          begun.resolve()
          await hang
        }
        stored.push(...items)
      },
      { flushers: 1, answerMs: 40 },
    )
    const underWay = group.add('a')
    await begun.promise
    expect(await Promise.all([underWay, group.add('b'), group.add('c')])).toEqual([
      'unavailable',
      'unavailable',
      'unavailable',
    ])
    release()
    expect(await group.add('d', 1000)).toBe('stored')
    // `a` was under way already: at least once is allowed, and its sender was told to repeat
    expect(stored).toEqual(['a', 'd'])
    await group.close()
  })

  test('an idle door flushes at once; a busy one by its timer, together, though the first statement is still under way', async () => {
    const groups: string[][] = []
    const held = Promise.withResolvers<void>()
    const group = commit((items) => {
      groups.push([...items])
      return items.includes('first') ? held.promise : Promise.resolve()
    })
    const first = group.add('first')
    await new Promise(setImmediate)
    expect(groups).toEqual([['first']])
    expect(await Promise.all([group.add('second'), group.add('third')])).toEqual(['stored', 'stored'])
    expect(groups).toEqual([['first'], ['second', 'third']])
    held.resolve()
    expect(await first).toBe('stored')
  })

  test('a group that is full in bytes waits for no timer, and what is cut off it for nobody else to come or to end', async () => {
    const groups: string[] = []
    const held = Promise.withResolvers<void>()
    const group = commit(
      (items) => {
        groups.push(items.map((item) => item.slice(0, 1)).join(''))
        return groups.length === 3 ? Promise.resolve() : held.promise
      },
      { groupBytes: 100, flushers: 3 },
    )
    const first = group.add('a')
    await new Promise(setImmediate)
    const second = group.add('b'.repeat(60))
    expect(groups).toEqual(['a'])
    const rest = group.add('c'.repeat(60))
    expect(groups).toEqual(['a', 'b'])
    expect(await rest).toBe('stored')
    expect(groups).toEqual(['a', 'b', 'c'])
    held.resolve()
    expect(await Promise.all([first, second])).toEqual(['stored', 'stored'])
  })

  test('a group that takes longer than a statement may is split once, and each half answered by its own', async () => {
    const tried: string[] = []
    const group = commit((items) => {
      tried.push(items.join(''))
      return items.length > 2 || items.includes('d') ? Promise.reject(state('57014')) : Promise.resolve()
    })
    expect(await Promise.all(['a', 'b', 'c', 'd'].map((item) => group.add(item)))).toEqual([
      'stored',
      'stored',
      'unavailable',
      'unavailable',
    ])
    expect(tried).toEqual(['abcd', 'ab', 'cd'])
  })

  test('when it is split, what nobody waits for any more is left out', async () => {
    const tried: string[] = []
    const group = commit(
      async (items) => {
        tried.push(items.join(''))
        if (items.length === 1) return
        await new Promise((resolve) => setTimeout(resolve, 60))
        throw state('57014')
      },
      { answerMs: 20 },
    )
    const answers = Promise.all([group.add('a'), group.add('b'), group.add('c', 5_000)])
    expect(await answers).toEqual(['unavailable', 'unavailable', 'stored'])
    expect(tried).toEqual(['abc', 'c'])
  })
})
