/**
 * Everything that can be watched, through the whole system of real processes: each kind is subscribed, a change of each
 * arrives as an event, channels are replaced before they end, and an account that is switched off is silent.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Browserless } from '../../local/src/browserless.ts'
import { type Stack, startStack } from '../../local/src/stack.ts'

const DAY_MS = 24 * 3600_000

describe('WI-16 everything that can be watched', () => {
  let directory: string
  let stack: Stack
  let db: pg.Client
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'flovify-watching-'))
    stack = await startStack({ dataDir: join(directory, 'data') })
    db = new pg.Client({ connectionString: stack.database.url })
    await db.connect()
    const alice = new Browserless(stack)
    await alice.signIn(await stack.signinUrl('alice@example.com', 'user'))
    await alice.connect('microsoft', 'adele@contoso.test')
    await alice.connect('google', 'gita@flow.test')
  })
  afterAll(async () => {
    await db?.end()
    await stack?.stop()
    await rm(directory, { recursive: true, force: true })
  })

  const control = async (path: string, body: unknown) => {
    const response = await fetch(`${stack.urls.control}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${stack.secrets.controlToken}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`)
    return (await response.json()) as { pushes?: { status: number | null }[] }
  }
  const until = async <T>(what: string, read: () => Promise<T>, holds: (value: T) => boolean): Promise<T> => {
    for (const end = Date.now() + 30_000; Date.now() < end; await new Promise((r) => setTimeout(r, 100))) {
      const value = await read()
      if (holds(value)) return value
    }
    throw new Error(`waited in vain: ${what} ${JSON.stringify(await read())}`)
  }
  interface Row {
    name: string
    state: string
    theirs: string | null
    leftDays: number
  }
  const read = async () =>
    (
      await db.query<Row>(
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
      await db.query<{ type: string; n: number }>(
        `select provider || ' ' || substring(type from '[a-z]+\\.[a-z]+\\.v1\\.notified$') as type, count(*)::int as n
           from auth.events where type like '%.notified' group by 1 order by 1`,
      )
    ).rows
  const stops = async () => (await db.query('select 1 from auth.subscription_stops')).rowCount ?? 0
  const change = async (provider: 'microsoft' | 'google', what: 'file' | 'event') => {
    const account = provider === 'microsoft' ? 'adele@contoso.test' : 'gita@flow.test'
    const { pushes = [] } = await control('/change', { provider, account, what, name: 'made' })
    expect(pushes.map(({ status }) => status)).toEqual([provider === 'microsoft' ? 202 : 200])
  }

  test('is subscribed by its scopes, each calendar by being asked for, and pushes its changes', async () => {
    const rows = await until('all are active', read, allActive)
    expect(rows.map(({ name }) => name)).toEqual(NAMES)
    const life = Object.fromEntries(rows.map(({ name, leftDays }) => [name, Math.round(leftDays)]))
    expect(life).toMatchObject({ 'google drive': 7, 'google calendar': 30, 'microsoft drive': 29 })
    for (const provider of ['microsoft', 'google'] as const)
      for (const what of ['file', 'event'] as const) await change(provider, what)
    const arrived = await until('all changes', types, (all) => all.length >= 4)
    expect(arrived.filter(({ type }) => !type.includes('mailbox'))).toEqual([
      { type: 'google calendar.calendar.v1.notified', n: 1 },
      { type: 'google files.drive.v1.notified', n: 1 },
      { type: 'microsoft calendar.calendar.v1.notified', n: 1 },
      { type: 'microsoft files.drive.v1.notified', n: 1 },
    ])
  }, 60_000)

  test('a channel has a successor before it ends, the old one is stopped, and a change comes once', async () => {
    const before = await read()
    await control('/clock', { advanceMs: 4 * DAY_MS })
    await db.query('update auth.clock_offset set offset_ms = offset_ms + $1', [4 * DAY_MS])
    await db.query(
      `select auth.ensure_days((auth.clock() at time zone 'UTC')::date - 1, (auth.clock() at time zone 'UTC')::date + 7)`,
    )
    await stack.auth.restart()
    const theirs = (rows: Row[], name: string) => rows.find((row) => row.name === name)?.theirs
    await until(
      'drive has a successor',
      read,
      (rows) => allActive(rows) && theirs(rows, 'google drive') !== theirs(before, 'google drive'),
    )
    expect(theirs(await read(), 'google calendar')).toBe(theirs(before, 'google calendar'))
    await until('the old one is stopped', stops, (n) => n === 0)
    // pushed to every live channel of the account
    await change('google', 'file')
    expect((await db.query('select 1 from auth.subscription_gaps')).rows).toEqual([])
  }, 60_000)
})
