/** Audit entries that share a commit: each is there before whoever added it goes on, and a bad one harms no other. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { openAuditGroup } from '../../src/audit/audit-group.ts'
import type { Db } from '../../src/db/sql.ts'
import { sql } from '../../src/db/sql.ts'
import { type TestDatabase, testDatabase } from '../database.ts'

let t: TestDatabase
beforeAll(async () => {
  t = await testDatabase()
})
afterAll(() => t.close())
beforeEach(() => t.db.rows(sql`truncate auth.audit`))

const entry = (n: number, detail = {}) => ({
  actor: 'service',
  action: 'token.read',
  subject: `con_${n}`,
  detail: { n, ...detail },
})
const stored = async () =>
  (await t.db.rows<{ subject: string }>(sql`select subject from auth.audit order by id`)).map(
    ({ subject }) => subject,
  )
/** Counts inserts. */
const counting = () => {
  const state = { inserts: 0 }
  const db: Db = {
    ...t.db,
    rows: (query, prepared) => {
      state.inserts += 1
      return t.db.rows(query, prepared)
    },
  }
  return { state, db }
}

test('IA-07 an entry is committed when whoever added it goes on, and many share few inserts', async () => {
  const { state, db } = counting()
  const group = openAuditGroup(db)
  await Promise.all(
    Array.from({ length: 1_000 }, async (_, n) => {
      await group.add(entry(n))
      expect(await stored()).toContain(`con_${n}`)
    }),
  )
  expect(new Set(await stored()).size).toBe(1_000)
  expect(state.inserts).toBeLessThan(50)
  await group.add(entry(1_000))
  expect(await stored()).toContain('con_1000')
})

test('IA-07 an entry that the database refuses fails alone', async () => {
  const group = openAuditGroup(t.db)
  const outcomes = await Promise.allSettled(
    [0, 1, 2, 3, 4].map((n) => group.add(entry(n, n === 2 ? { purpose: '\u0000' } : {}))),
  )
  expect(outcomes.map(({ status }) => status)).toEqual([
    'fulfilled',
    'fulfilled',
    'rejected',
    'fulfilled',
    'fulfilled',
  ])
  expect((await stored()).sort()).toEqual(['con_0', 'con_1', 'con_3', 'con_4'])
})

test('IA-07 while the database is away every entry fails, and later ones are written again', async () => {
  let away = true
  const db: Db = {
    ...t.db,
    rows: (query, prepared) =>
      away
        ? Promise.reject(Object.assign(new Error('away'), { code: 'ECONNREFUSED' }))
        : t.db.rows(query, prepared),
  }
  const group = openAuditGroup(db)
  const outcomes = await Promise.allSettled([1, 2, 3].map((n) => group.add(entry(n))))
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
  away = false
  await group.add(entry(4))
  expect(await stored()).toEqual(['con_4'])
})
