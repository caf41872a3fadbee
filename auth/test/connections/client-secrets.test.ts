/** Our own client secrets at the providers: warned of ahead, once each, and shown to whoever looks. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { noticesOfSecrets, warnOfSecrets } from '../../src/connections/client-secrets.ts'
import { sql } from '../../src/db/sql.ts'
import { ask, json } from '../http/wire.ts'
import { openWorld } from '../world.ts'
import { openRefreshGround, type RefreshGround } from './refresh-ground.ts'

const DAY = 86_400
let g: RefreshGround
beforeAll(async () => {
  g = await openRefreshGround()
})
afterAll(() => g.shut())
beforeEach(() => g.reset())

const inDays = (days: number) => ({
  provider: 'microsoft',
  label: 'Microsoft 365',
  expiresAt: new Date(Date.now() + days * DAY * 1000),
})
const alarms = () => g.lines.filter((line) => line.includes('alarm: the client secret'))

describe('an expiring client secret', () => {
  test('is warned of 60, 30 and 7 days ahead and at its end, once each, however many processes look and how often', async () => {
    const expiry = inDays(61)
    const told: number[] = []
    for (let day = 0; day <= 63; day += 1) {
      const before = alarms().length
      await Promise.all([1, 2, 3].map(() => warnOfSecrets(g, [expiry])))
      await warnOfSecrets(g, [expiry])
      if (alarms().length > before) told.push(61 - day)
      expect(alarms().length - before).toBeLessThanOrEqual(1)
      await g.later(DAY)
    }
    // a day is looked at when it has passed by the time of the run
    expect(told).toEqual([60, 30, 7, 0])
    expect(alarms()).toHaveLength(4)
    expect(alarms()[3]).toContain('"level":"error"')
    expect(alarms()[0]).toContain('"days":60')
  })

  test('told late, it is one line and not three; a new date begins anew', async () => {
    await warnOfSecrets(g, [inDays(5)])
    expect(alarms()).toHaveLength(1)
    expect(alarms()[0]).toContain('"days":7')
    await warnOfSecrets(g, [inDays(400)])
    expect(alarms()).toHaveLength(1)
    await warnOfSecrets(g, [inDays(20)])
    expect(alarms()).toHaveLength(2)
  })

  test('is a notice from 60 days on, and says when it is over', () => {
    const now = new Date()
    expect(noticesOfSecrets([inDays(61)], now)).toEqual([])
    expect(noticesOfSecrets([inDays(29.5)], now)).toEqual([
      'the client secret of Microsoft 365 expires in 30 days',
    ])
    expect(noticesOfSecrets([inDays(-1)], now)).toEqual(['the client secret of Microsoft 365 has expired'])
  })

  test('the composed service warns by its chore, shows it at /ready without being less ready, and as a metric', async () => {
    const expiresAt = new Date(Date.now() + 29.5 * DAY * 1000).toISOString()
    const world = await openWorld({
      instances: 2,
      environment: { MICROSOFT_CLIENT_SECRET_EXPIRES_AT: expiresAt },
    })
    try {
      const ready = await ask(world.internalPort, { path: '/ready' })
      expect(ready.status).toBe(200)
      expect(json(ready)).toEqual({
        status: 'ready',
        reasons: [],
        notices: ['the client secret of Microsoft 365 expires in 30 days'],
      })
      const page = (await ask(world.internalPort, { path: '/metrics' })).text
      const seconds = Number(
        /flovify_client_secret_expires_seconds\{provider="microsoft"\} (\d+)/.exec(page)?.[1],
      )
      expect(seconds).toBeGreaterThan(29.4 * DAY)
      expect(seconds).toBeLessThan(29.5 * DAY)
      const lines = () => world.lines.filter((line) => line.includes('alarm: the client secret'))
      for (const end = Date.now() + 10_000; lines().length === 0 && Date.now() < end; )
        await world.db.rows(sql`select pg_sleep(0.05)`)
      // the chore is due again at once: nothing more is said
      await world.db.rows(sql`update auth.chores set due_at = auth.clock() where id = 'warn-of-secrets'`)
      const settled = async () =>
        (
          await world.db.one<{ attempts: number }>(
            sql`select attempts from auth.chores where id = 'warn-of-secrets'`,
          )
        )?.attempts ?? 0
      for (const end = Date.now() + 10_000; (await settled()) < 2 && Date.now() < end; )
        await world.db.rows(sql`select pg_sleep(0.05)`)
      expect(await settled()).toBeGreaterThanOrEqual(2)
      expect(lines()).toHaveLength(1)
    } finally {
      await world.close()
    }
  })
})
