import { afterAll, beforeAll, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { type Hints, openHints } from '../../src/work/hint.ts'
import { type TestDatabase, testDatabase } from '../database.ts'
import { capturedLog } from '../delivery/world.ts'

let t: TestDatabase
let door: Hints
let work: Hints
const heard: string[] = []
const stored: number[] = []
const { log, lines } = capturedLog()

beforeAll(async () => {
  t = await testDatabase()
  const pace = { stored: (deliveries: number) => stored.push(deliveries) }
  const open = (role: 'door' | 'work', nudge: (kind: string) => void) =>
    openHints({ db: t.db, url: t.url, role, worker: { nudge }, pace, log })
  work = open('work', (kind) => heard.push(kind))
  door = open('door', () => {
    throw new Error('a door does not work')
  })
})
afterAll(async () => {
  await work.close()
  await door.close()
  await t.close()
})

const listeners = () =>
  t.db.rows<{ pid: number }>(sql`
    select pid from pg_stat_activity
     where datname = current_database() and application_name = 'flovify-hints' and query like 'listen%'`)
const listening = () => expect.poll(listeners, { timeout: 10_000 }).toHaveLength(1)

test('what a door stores is told to the processes that work, many hints as few', async () => {
  await listening()
  for (let n = 0; n < 500; n += 1) door.nudge('deliveries')
  await expect.poll(() => heard.length).toBeGreaterThan(0)
  expect(new Set(heard)).toEqual(new Set(['deliveries']))
  expect(heard.length).toBeLessThan(5)
})

test('RE-13 that a door stores is told twice a second, with all deliveries that it made', async () => {
  await listening()
  heard.length = 0
  for (let n = 0; n < 400; n += 1) door.stored(n % 2)
  await expect.poll(() => stored.reduce((sum, n) => sum + n, 0)).toBe(200)
  expect(stored.length).toBeLessThanOrEqual(2)
  expect(heard).toContain('deliveries')
  door.stored(0)
  await expect.poll(() => stored.at(-1)).toBe(0)
})

test('a process that works nudges itself, and knows at once what it stored', () => {
  heard.length = 0
  stored.length = 0
  work.stored(0)
  expect([stored, heard]).toEqual([[0], []])
  work.stored(3)
  expect([stored, heard]).toEqual([[0, 3], ['deliveries']])
  heard.length = 0
  work.nudge('dead_retries')
  expect(heard).toEqual(['dead_retries'])
})

test('a lost connection is made again, and hints are heard again', async () => {
  const [before] = await listeners()
  await t.db.rows(sql`select pg_terminate_backend(${before?.pid}::int)`)
  await expect
    .poll(async () => (await listeners())[0]?.pid ?? before?.pid, { timeout: 10_000 })
    .not.toBe(before?.pid)
  expect(lines.join('')).toContain('hints are not heard')
  heard.length = 0
  door.nudge('deliveries')
  await expect.poll(() => heard).toEqual(['deliveries'])
})
