import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Db, type Sql, sql } from '../../src/db/sql.ts'
import { newId } from '../../src/platform/ids.ts'
import { openRuleBook, type RuleBook } from '../../src/routing/rule-book.ts'
import { openRules, type Rules } from '../../src/routing/rules.ts'
import { type TestDatabase, testDatabase } from '../database.ts'

let t: TestDatabase
let book: RuleBook
let rules: Rules
beforeAll(async () => {
  t = await testDatabase()
})
afterAll(() => t.close())
beforeEach(async () => {
  await t.db.rows(sql`truncate auth.rules, auth.destinations, auth.deliveries, auth.audit`)
  book = await openRuleBook(t.db)
  rules = openRules({ db: t.db, book })
})

async function destination(deleted = false): Promise<string> {
  const id = newId('dst')
  await t.db.rows(sql`
    insert into auth.destinations (id, name, url, data_key, secret, deleted_at)
    values (${id}, 'x', 'https://hook.example/', '', '', ${deleted ? new Date() : null})`)
  return id
}
const mail = { type: 'mail.mailbox.v1.notified', provider: 'one', connectionId: 'con_a' }
const made = async (destinationId: string, types: string[] = []) => {
  const creation = await rules.create('user:1', { name: 'r', destinationId, types })
  if (creation.kind !== 'created') throw new Error(creation.kind)
  return creation.rule
}

describe('rules', () => {
  test('a new rule is in force in this process at once, under a new revision, with an audit entry', async () => {
    const before = book.current().revision
    const here = await destination()
    const rule = await made(here, ['mail.*'])
    expect(book.current().match(mail)).toEqual([{ ruleId: rule.id, destinationId: here }])
    expect(BigInt(book.current().revision)).toBeGreaterThan(BigInt(before))
    expect(await t.db.rows(sql`select actor, action, subject from auth.audit`)).toEqual([
      { actor: 'user:1', action: 'rule.created', subject: rule.id },
    ])
  })

  test('another process meets the new revision when it reloads', async () => {
    const elsewhere = await openRuleBook(t.db)
    const here = await destination()
    await made(here)
    expect(elsewhere.current().match(mail)).toEqual([])
    await elsewhere.reload()
    expect(elsewhere.current().revision).toBe(book.current().revision)
    expect(elsewhere.current().match(mail)).toHaveLength(1)
  })

  test('a reload that is asked for while one runs sees what changed in between', async () => {
    const here = await destination()
    let answered = () => {}
    const slow: Db = {
      one: t.db.one,
      async rows<R extends object>(query: Sql) {
        const rows = await t.db.rows<R>(query)
        answered()
        await new Promise((resolve) => setTimeout(resolve, 50))
        return rows
      },
    }
    const elsewhere = await openRuleBook(slow)
    const read = new Promise<void>((resolve) => {
      answered = resolve
    })
    const first = elsewhere.reload()
    await read
    await t.db.rows(sql`
      insert into auth.rules (id, name, destination_id) values (${newId('rul')}, 'r', ${here})`)
    await Promise.all([first, elsewhere.reload(), elsewhere.reload()])
    expect(elsewhere.current().match(mail)).toHaveLength(1)
  })

  test('a deleted rule matches no more; deleting it again says so', async () => {
    const rule = await made(await destination())
    expect(await rules.remove('user:1', rule.id)).toBe(true)
    expect(book.current().match(mail)).toEqual([])
    expect(await rules.remove('user:1', rule.id)).toBe(false)
    expect(await t.db.rows(sql`select 1 from auth.audit where action = 'rule.deleted'`)).toHaveLength(1)
  })

  test('a rule cannot name an unknown or deleted destination, nor a pattern that cannot be read', async () => {
    const gone = await destination(true)
    const create = (destinationId: string, types: string[]) =>
      rules.create('user:1', { name: 'r', destinationId, types })
    expect(await create(gone, [])).toEqual({ kind: 'unknown_destination' })
    expect(await create(newId('dst'), [])).toEqual({ kind: 'unknown_destination' })
    expect(await create(await destination(), ['mail.*', '*.x'])).toEqual({ kind: 'invalid_pattern' })
    expect(await rules.list()).toEqual([])
    expect(await t.db.rows(sql`select 1 from auth.audit`)).toEqual([])
  })

  test('rules of a deleted destination and disabled rules are not in force', async () => {
    const [one, two, three] = [await destination(), await destination(), await destination()]
    for (const id of [one, two, three]) await made(id)
    await t.db.rows(sql`update auth.destinations set deleted_at = now() where id = ${one}`)
    await rules.disableFor(t.db, two)
    await book.reload()
    expect(
      book
        .current()
        .match(mail)
        .map((match) => match.destinationId),
    ).toEqual([three])
  })

  test('the rule for everything is made once', async () => {
    const here = await destination()
    await made(here, ['mail.*'])
    for (let i = 0; i < 3; i += 1) await t.db.transaction((tx) => rules.ensureEverything(tx, 'system', here))
    expect((await rules.list()).map((rule) => rule.types)).toEqual([['mail.*'], []])
  })
})
