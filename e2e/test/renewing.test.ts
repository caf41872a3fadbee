/** Subscriptions kept alive: the whole system of real processes and simulated providers, on clocks that are moved together. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Browserless } from '../../local/src/browserless.ts'
import { type Stack, startStack } from '../../local/src/stack.ts'

const DAY_MS = 24 * 3600_000

describe('subscriptions over weeks', () => {
  let directory: string
  let stack: Stack
  let db: pg.Client
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'flovify-renewing-'))
    stack = await startStack({
      dataDir: join(directory, 'data'),
      environment: { MICROSOFT_WATCH: 'mail', GOOGLE_WATCH: 'mail' },
    })
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
  }
  interface Row {
    provider: string
    state: string
    left_days: number
    renewals: number
    provider_subscription_id: string | null
  }
  const read = async () =>
    (
      await db.query<Row>(
        `select s.provider, s.state, extract(epoch from s.expires_at - auth.clock())::float8 / 86400 as left_days, s.provider_subscription_id,
                (select count(*)::int from auth.events e where e.type like '%subscription.v1.renewed' and e.connection_id = s.connection_id) as renewals
           from auth.subscriptions s where s.kind = 'mail' order by s.provider`,
      )
    ).rows
  const until = async (what: string, holds: (rows: Row[]) => boolean) => {
    for (const end = Date.now() + 30_000; Date.now() < end; await new Promise((r) => setTimeout(r, 100)))
      if (holds(await read())) return
    throw new Error(`waited in vain: ${what} ${JSON.stringify(await read())}`)
  }
  /** Everybody's time at once. */
  const advance = async (ms: number) => {
    await control('/clock', { advanceMs: ms })
    await db.query('update auth.clock_offset set offset_ms = offset_ms + $1', [ms])
    await db.query(
      `select auth.ensure_days((auth.clock() at time zone 'UTC')::date - 1, (auth.clock() at time zone 'UTC')::date + 7)`,
    )
    await stack.auth.restart()
  }

  test('both live on for three weeks: renewed again and again, never lost, and pushes still arrive', async () => {
    await until(
      'both are active',
      (rows) => rows.length === 2 && rows.every(({ state }) => state === 'active'),
    )
    const before = await read()
    for (let week = 1; week <= 6; week += 1) {
      await advance(3.6 * DAY_MS)
      await until(`renewed ${week} times`, (rows) =>
        rows.every(({ renewals, left_days }) => renewals >= week && left_days > 3.5),
      )
    }
    const after = await read()
    expect(after.map((row) => row.provider_subscription_id)).toEqual(
      before.map((row) => row.provider_subscription_id),
    )
    expect((await db.query('select 1 from auth.subscription_gaps')).rows).toEqual([])
    await control('/message', {
      provider: 'microsoft',
      account: 'adele@contoso.test',
      subject: 'after three weeks',
    })
    for (const end = Date.now() + 15_000; Date.now() < end; await new Promise((r) => setTimeout(r, 100))) {
      const { rows } = await db.query(
        `select 1 from auth.events where type like '%mail.mailbox.v1.notified' and provider = 'microsoft'`,
      )
      if (rows.length > 0) return
    }
    throw new Error('the push after three weeks did not arrive')
  }, 180_000)

  test('one that Graph removed is made anew, and the gap is known', async () => {
    const [, before] = await read()
    await control('/lifecycle', {
      provider: 'microsoft',
      account: 'adele@contoso.test',
      event: 'subscriptionRemoved',
    })
    await until('a new one is active', (rows) => {
      const now = rows.find(({ provider }) => provider === 'microsoft')
      return now?.state === 'active' && now.provider_subscription_id !== before?.provider_subscription_id
    })
    const { rows } = await db.query<{ reason: string; closed: boolean }>(
      `select g.reason, g.to_at is not null as closed from auth.subscription_gaps g join auth.subscriptions s on s.id = g.subscription_id
        where s.kind = 'mail'`,
    )
    expect(rows).toEqual([{ reason: 'removed', closed: true }])
  }, 60_000)
})
