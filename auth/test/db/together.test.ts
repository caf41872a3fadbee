/** Statements shared by what comes together: each gets its own answer, and what is stuck or bad holds up nobody else. */
import { setTimeout as pause } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { openTogether } from '../../src/db/together.ts'

const sqlError = (code: string) => Object.assign(new Error(code), { code })

test('each item gets its own answer, and what comes together shares a statement', async () => {
  const groups: number[] = []
  const together = openTogether(
    async (items: readonly number[]) => {
      groups.push(items.length)
      await pause(2)
      return items.map((item) => item * 2)
    },
    { most: 64, atOnce: 4 },
  )
  const answers = await Promise.all(Array.from({ length: 200 }, (_, n) => together.add(n)))
  expect(answers).toEqual(Array.from({ length: 200 }, (_, n) => n * 2))
  expect(Math.max(...groups)).toBe(64)
  expect(groups.length).toBeLessThan(10)
  expect(await together.add(7)).toBe(14)
})

test('who gathers shares a statement with what comes a little later, and who is alone waits for nobody', async () => {
  const groups: number[] = []
  const together = openTogether(
    async (items: readonly number[]) => {
      groups.push(items.length)
      return items
    },
    { most: 64, atOnce: 2, gatherMs: 200 },
  )
  const began = performance.now()
  await together.add(0)
  await together.add(1)
  expect(performance.now() - began).toBeLessThan(150)
  await Promise.all([together.add(2), together.add(3)])
  const late = [together.add(4)]
  await pause(20)
  late.push(together.add(5))
  await Promise.all(late)
  // what fills a group does not wait for the time to pass
  await Promise.all(Array.from({ length: 64 }, (_, n) => together.add(n)))
  expect(groups).toEqual([1, 1, 2, 2, 64])
})

test('a statement that is stuck holds up only its own group, and never more than so many are under way', async () => {
  const stuck = Promise.withResolvers<void>()
  let underWay = 0
  let most = 0
  const together = openTogether(
    async (items: readonly string[]) => {
      underWay += 1
      most = Math.max(most, underWay)
      if (items.includes('stuck')) await stuck.promise
      underWay -= 1
      return items
    },
    { most: 8, atOnce: 2 },
  )
  const first = together.add('stuck')
  await pause(10)
  expect(await Promise.all(['a', 'b', 'c'].map((item) => together.add(item)))).toEqual(['a', 'b', 'c'])
  const second = together.add('stuck')
  await pause(20)
  const third = together.add('d')
  await pause(20)
  expect(most).toBe(2)
  stuck.resolve()
  expect(await Promise.all([first, second, third])).toEqual(['stuck', 'stuck', 'd'])
})

test('what the database refuses as bad data fails alone; when it is away all fail, once', async () => {
  let calls = 0
  const together = openTogether(
    async (items: readonly number[]) => {
      calls += 1
      if (items.includes(13)) throw sqlError('22P05')
      if (items.includes(66)) throw sqlError('57P01')
      return items
    },
    { most: 64, atOnce: 1 },
  )
  const mixed = await Promise.allSettled([1, 13, 2].map((n) => together.add(n)))
  expect(mixed.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  calls = 0
  const away = await Promise.allSettled([1, 66, 2].map((n) => together.add(n)))
  expect(away.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
  expect(calls).toBe(1)
  expect(await together.add(3)).toBe(3)
})

test('a statement that answers another number of items answers none', async () => {
  const together = openTogether(async (items: readonly number[]) => items.slice(1), { most: 8, atOnce: 1 })
  await expect(together.add(1)).rejects.toThrow('item by item')
})
