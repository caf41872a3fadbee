/**
 * Everything that can be watched, through the whole system of real processes: each kind is subscribed, a change of each
 * arrives as an event, channels are replaced before they end, and an account that is switched off is silent.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type MovedStack, openMovedStack, waitFor } from '../src/moved-stack.ts'

const DAY_MS = 24 * 3600_000

describe('WI-16 everything that can be watched', () => {
  let world: MovedStack
  beforeAll(async () => {
    world = await openMovedStack()
  })
  afterAll(() => world?.close())

  interface Row {
    name: string
    state: string
    theirs: string | null
    leftDays: number
  }
  const read = async () =>
    (
      await world.db.query<Row>(
        `select provider || ' ' || kind as name, state, provider_subscription_id as theirs,
                extract(epoch from expires_at - auth.clock())::float8 / 86400 as "leftDays"
           from auth.subscriptions where state <> 'stopped' order by 1`,
      )
    ).rows
  const NAMES = [
    'google calendar',
    'google calendar:gita@flow.test',
    'google drive',
    'google mail',
    'microsoft calendar',
    'microsoft drive',
    'microsoft mail',
  ]
  const allActive = (rows: Row[]) =>
    rows.length === NAMES.length && rows.every(({ state }) => state === 'active')
  const types = async () =>
    (
      await world.db.query<{ type: string; n: number }>(
        `select provider || ' ' || substring(type from '[a-z]+\\.[a-z]+\\.v1\\.notified$') as type, count(*)::int as n
           from auth.events where type like '%.notified' group by 1 order by 1`,
      )
    ).rows
  const stops = async () => (await world.db.query('select 1 from auth.subscription_stops')).rowCount ?? 0
  const change = async (provider: 'microsoft' | 'google', what: 'file' | 'event') => {
    const account = provider === 'microsoft' ? 'adele@contoso.test' : 'gita@flow.test'
    const { pushes = [] } = await world.control('/change', { provider, account, what, name: 'made' })
    expect(pushes.map(({ status }) => status)).toEqual([provider === 'microsoft' ? 202 : 200])
  }

  test('is subscribed by its scopes, each calendar by being asked for, and pushes its changes', async () => {
    const rows = await waitFor('all are active', read, allActive)
    expect(rows.map(({ name }) => name)).toEqual(NAMES)
    const life = Object.fromEntries(rows.map(({ name, leftDays }) => [name, Math.round(leftDays)]))
    expect(life).toMatchObject({ 'google drive': 7, 'google calendar': 30, 'microsoft drive': 29 })
    for (const provider of ['microsoft', 'google'] as const)
      for (const what of ['file', 'event'] as const) await change(provider, what)
    const arrived = await waitFor('all changes', types, (all) => all.length >= 4)
    expect(arrived.filter(({ type }) => !type.includes('mailbox'))).toEqual([
      { type: 'google calendar.calendar.v1.notified', n: 1 },
      { type: 'google files.drive.v1.notified', n: 1 },
      { type: 'microsoft calendar.calendar.v1.notified', n: 1 },
      { type: 'microsoft files.drive.v1.notified', n: 1 },
    ])
  }, 60_000)

  test('a channel has a successor before it ends, the old one is stopped, and a change comes once', async () => {
    const before = await read()
    await world.advance(4 * DAY_MS)
    const theirs = (rows: Row[], name: string) => rows.find((row) => row.name === name)?.theirs
    await waitFor(
      'drive has a successor',
      read,
      (rows) => allActive(rows) && theirs(rows, 'google drive') !== theirs(before, 'google drive'),
    )
    expect(theirs(await read(), 'google calendar')).toBe(theirs(before, 'google calendar'))
    await waitFor('the old one is stopped', stops, (n) => n === 0)
    // pushed to every live channel of the account
    await change('google', 'file')
    expect((await world.db.query('select 1 from auth.subscription_gaps')).rows).toEqual([])
  }, 60_000)
})
