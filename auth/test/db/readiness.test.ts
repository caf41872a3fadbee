/** Readiness while the process runs: a database that stops keeping what it acknowledges is found, whoever probes. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { openPool, type Pool } from '../../src/db/pool.ts'
import { openReadiness, type Readiness } from '../../src/db/readiness.ts'
import type { Db } from '../../src/db/sql.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { openLog } from '../../src/platform/log.ts'
import { type TestDatabase, testDatabase } from '../database.ts'
import { until } from '../http/people.ts'

const UNSAFE = 'the database would lose what was acknowledged'
const log = openLog({ write: (line: string) => lines.push(line) })

let t: TestDatabase
/** Sessions of either setting stand for one server whose settings are changed: the other tests use the same server. */
let pools: { on: Pool; off: Pool }
let now: 'on' | 'off' | 'away'
let asked: number
let lines: string[]
let readiness: Readiness

beforeEach(async () => {
  // the minutes are the test's own; the database answers in real time
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  t = await testDatabase()
  const open = (setting: string) =>
    openPool({
      ...{ url: `${t.url}?options=-c%20synchronous_commit%3D${setting}`, name: 'reads', size: 1, log },
      ...{ connectMs: 5_000, statementMs: 5_000 },
    })
  pools = { on: open('on'), off: open('off') }
  now = 'on'
  asked = 0
  lines = []
  const ask = <Answer>(question: (db: Db) => Promise<Answer>): Promise<Answer> => {
    asked += 1
    return now === 'away' ? Promise.reject(new Error('away')) : question(pools[now])
  }
  const db: Db = { rows: (query) => ask((at) => at.rows(query)), one: (query) => ask((at) => at.one(query)) }
  readiness = await openReadiness({ db, clock: systemClock(), mode: 'production', log })
})
afterEach(async () => {
  readiness.drain()
  vi.useRealTimers()
  await Promise.all([pools.on.close(), pools.off.close()])
  await t.close()
})

const times = (words: string) => lines.filter((line) => line.includes(words)).length

test('OP-06 a database that becomes unsafe is found within a minute without a probe, said once, and makes the process not ready', async () => {
  vi.advanceTimersByTime(60_000)
  expect(await readiness.reasons()).toEqual([])
  now = 'off'
  vi.advanceTimersByTime(60_000)
  await until('it is said', () => times(UNSAFE) === 1)
  vi.advanceTimersByTime(60_000)
  expect(await readiness.reasons()).toEqual(['synchronous_commit is neither on nor remote_apply'])
  expect(times(UNSAFE)).toBe(1)
  now = 'on'
  vi.advanceTimersByTime(60_000)
  await until('it is said', () => times('keeps what it acknowledges again') === 1)
  expect(await readiness.reasons()).toEqual([])
  now = 'off'
  expect(await readiness.reasons()).toHaveLength(1)
  expect(times(UNSAFE)).toBe(2)
})

test('OP-06 a database that does not answer fails no check that is made by itself; a process that ends makes none', async () => {
  now = 'away'
  vi.advanceTimersByTime(60_000)
  await until('it is said', () => times('does not answer the readiness check') === 1)
  expect(await readiness.reasons()).toEqual(['the database does not answer'])
  readiness.drain()
  const before = asked
  vi.advanceTimersByTime(600_000)
  expect(asked).toBe(before)
  expect(await readiness.reasons()).toEqual(['this process is ending'])
})
