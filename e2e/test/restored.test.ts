/**
 * A database set back to a backup of four days ago, while the providers kept what was made since: through the whole system
 * of real processes. In the end each wanted resource has exactly one live subscription, and nothing of ours lives besides:
 * at Graph it is listed by its genuine `ref`, at Google stopped at its first message.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type MovedStack, openMovedStack, waitFor } from '../src/moved-stack.ts'
import { liveAt, settled } from '../src/subscription-world.ts'

const DAY_MS = 24 * 3600_000
const MINUTE_MS = 60_000
/** In the order that their references allow. */
const TABLES = [
  'subscriptions',
  'subscriptions_off',
  'subscription_renewals',
  'subscription_checks',
  'subscription_stops',
  'subscription_gaps',
  'subscription_certificates',
]
const NAMES = [
  'google calendar',
  'google calendar:gita@flow.test',
  'google drive',
  'google mail',
  'microsoft calendar',
  'microsoft drive',
  'microsoft mail',
]
const ROUNDS = 5
/** Watched only since the backup. */
const LATER = ['google calendar:gita@flow.test', 'microsoft mail']

describe('WI-16 after a restore from backup', () => {
  let world: MovedStack
  beforeAll(async () => {
    world = await openMovedStack()
  })
  afterAll(() => world?.close())

  interface Row {
    name: string
    state: string
    theirs: string | null
    checked: boolean
  }
  const read = async () =>
    (
      await world.db.query<Row>(
        `select s.provider || ' ' || s.kind as name, s.state, s.provider_subscription_id as theirs, k.checked_at is not null as checked
           from auth.subscriptions s left join auth.subscription_checks k on k.id = s.id where s.state <> 'stopped' order by 1`,
      )
    ).rows
  const allActive = (rows: Row[]) =>
    rows.length === NAMES.length && rows.every(({ state, checked }) => state === 'active' && checked)
  const theirsOf = (rows: Row[], name: string) => rows.find((row) => row.name === name)?.theirs
  /** Without the mailbox of Google, whose watch has no id. */
  const channelsOf = (rows: Row[]) =>
    rows.flatMap(({ name, theirs }) => (name === 'google mail' || theirs === null ? [] : [theirs])).sort()
  const live = async () => [...(await liveAt(world))].sort()
  const change = async () => {
    for (const [provider, account] of [
      ['microsoft', 'adele@contoso.test'],
      ['google', 'gita@flow.test'],
    ])
      for (const what of ['file', 'event'])
        await world.control('/change', { provider, account, what, name: 'made' })
  }

  const backUp = async () => {
    await world.db.query('create schema backup')
    for (const table of TABLES)
      await world.db.query(`create table backup.${table} as select * from auth.${table}`)
    const later = `(select id from backup.subscriptions where provider || ' ' || kind = any($1))`
    for (const table of ['renewals', 'checks'])
      await world.db.query(`delete from backup.subscription_${table} where id in ${later}`, [LATER])
    await world.db.query(`delete from backup.subscriptions where id in ${later}`, [LATER])
    // as long as the calendar was not found, the list was not asked
    await world.db.query(
      `update backup.subscription_checks k set cursor = null, checked_at = null from backup.subscriptions s
        where s.id = k.id and s.provider = 'google' and s.kind = 'calendar'`,
    )
  }
  const restore = async () => {
    await world.stack.auth.stop()
    await world.db.query('begin')
    await world.db.query(`truncate ${TABLES.map((table) => `auth.${table}`).join(', ')} cascade`)
    for (const table of TABLES) {
      const { rows } = await world.db.query<{ columns: string }>(
        `select string_agg(quote_ident(attname), ', ') as columns from pg_attribute
          where attrelid = 'auth.${table}'::regclass and attnum > 0 and not attisdropped and attgenerated = ''`,
      )
      const columns = rows[0]?.columns
      await world.db.query(
        `insert into auth.${table} (${columns}) overriding system value select ${columns} from backup.${table}`,
      )
    }
    await world.db.query('commit')
    await world.stack.auth.restart()
  }

  test('each wanted resource has one live subscription, and what was made since is found and stopped', async () => {
    await waitFor('all are active and checked', read, allActive)
    await backUp()

    // read before: as soon as the time has moved, Auth replaces what is beyond the half of its life
    const drive = theirsOf(await read(), 'google drive')
    await world.advance(4 * DAY_MS)
    await world.control('/lifecycle', {
      provider: 'microsoft',
      account: 'adele@contoso.test',
      event: 'subscriptionRemoved',
    })
    const before = await waitFor(
      'the newer ones are there',
      read,
      (rows) => allActive(rows) && theirsOf(rows, 'google drive') !== drive,
    )
    await waitFor('and they alone', live, (ids) => `${ids}` === `${channelsOf(before)}`)

    await restore()
    // what is found is stopped as due rows, and the orphans at Google have to speak first
    for (let round = 1; round <= ROUNDS; round += 1) {
      await settled(world, 0)
      await change()
      await world.advance(20 * MINUTE_MS)
    }
    await settled(world, 0)
    const after = await read()
    expect(after.map(({ name, state }) => `${name} ${state}`)).toEqual(NAMES.map((name) => `${name} active`))
    expect(await live()).toEqual(channelsOf(after))
    expect((await world.db.query('select 1 from auth.subscription_stops')).rows).toEqual([])
  }, 300_000)
})
