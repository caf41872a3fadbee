import { expect, test } from 'vitest'
import { rationed } from '../../src/platform/rationed.ts'

/** Readings that take as long as they are told, by a clock of their own. */
function ground(tookMs: (key: string) => number, fail: (key: string) => boolean = () => false) {
  let now = 1_000
  let under = 0
  const read: string[] = []
  let most = 0
  const look = rationed(
    () => now,
    async (key) => {
      under += 1
      most = Math.max(most, under)
      await Promise.resolve()
      now += tookMs(key)
      under -= 1
      read.push(key)
      if (fail(key)) throw new Error(`${key} failed`)
      return `${key} ${read.length}`
    },
  )
  return { look, read, most: () => most, pass: (ms: number) => (now += ms) }
}

test('what is quick is read each time', async () => {
  const t = ground(() => 49)
  expect([await t.look('a'), await t.look('a')]).toEqual(['a 1', 'a 2'])
})

test('what took long is told again for twenty times as long, and then read anew', async () => {
  const t = ground((key) => (key === 'slow' ? 100 : 1))
  expect(await t.look('slow')).toBe('slow 1')
  t.pass(1_999)
  expect([await t.look('slow'), await t.look('quick')]).toEqual(['slow 1', 'quick 2'])
  expect(await t.look('slow')).toBe('slow 3')
})

test('many who look at once are one reading, and different ones follow each other', async () => {
  const t = ground(() => 1)
  expect(await Promise.all([t.look('a'), t.look('a'), t.look('b'), t.look('a'), t.look('c')])).toEqual([
    'a 1',
    'a 1',
    'b 2',
    'a 1',
    'c 3',
  ])
  expect(t.most()).toBe(1)
})

test('a failure that took long is told again too, and keeps nobody else from looking', async () => {
  const t = ground(
    () => 200,
    (key) => key === 'ill',
  )
  const [ill, well] = await Promise.allSettled([t.look('ill'), t.look('well')])
  expect([ill.status, well]).toEqual(['rejected', { status: 'fulfilled', value: 'well 2' }])
  await expect(t.look('ill')).rejects.toThrow('ill failed')
  expect(t.read).toEqual(['ill', 'well'])
  t.pass(4_000)
  await expect(t.look('ill')).rejects.toThrow('ill failed')
  expect(t.read).toEqual(['ill', 'well', 'ill'])
})
