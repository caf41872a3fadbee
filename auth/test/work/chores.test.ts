/** Housekeeping: when a chore is due again. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { type Chore, choreKind, plantChores } from '../../src/work/chores.ts'
import { type TestDatabase, testDatabase } from '../database.ts'

let t: TestDatabase
beforeAll(async () => {
  t = await testDatabase()
})
afterAll(() => t.close())
beforeEach(() => t.db.rows(sql`delete from auth.chores`))

/** Runs it once. @returns in how many seconds it is due again, and with which error */
async function runOnce(run: Chore['run'], everySeconds = 3_600) {
  await plantChores(t.db, ['one'])
  const kind = choreKind(t.db, { one: { everySeconds, run } })
  const [row] = await kind.claim(t.db, { id: crypto.randomUUID(), seconds: 60, limit: 4 })
  if (row === undefined) throw new Error('nothing is due')
  await kind.run(row, AbortSignal.timeout(5_000)).catch(() => {})
  return await t.db.one<{ seconds: number; last_error: string | null }>(sql`
    select round(extract(epoch from due_at - auth.clock()))::int as seconds, last_error from auth.chores`)
}

const failure = Object.assign(new Error('statement timeout'), { code: '57014' })

test('a chore is due again after its interval, also when it failed', async () => {
  expect(await runOnce(async () => {})).toEqual({ seconds: 3_600, last_error: null })
  await t.db.rows(sql`delete from auth.chores`)
  expect(await runOnce(() => Promise.reject(failure))).toEqual({ seconds: 3_600, last_error: '57014' })
})

test('one that was not finished is due at once, in a minute when it failed too, and never later than its interval', async () => {
  expect(await runOnce(async (unfinished) => unfinished())).toEqual({ seconds: 1, last_error: null })
  const failing: Chore['run'] = async (unfinished) => {
    unfinished()
    throw failure
  }
  await t.db.rows(sql`delete from auth.chores`)
  expect(await runOnce(failing)).toEqual({ seconds: 60, last_error: '57014' })
  await t.db.rows(sql`delete from auth.chores`)
  expect(await runOnce(failing, 10)).toEqual({ seconds: 10, last_error: '57014' })
})
