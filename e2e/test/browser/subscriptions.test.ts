/**
 * Subscription health on the connection's page, by mouse: what is watched, since and until when, the last push, what was
 * missed and its gap, the next renewal; renewed now, switched off and on.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Looks, startLooking } from './look.ts'
import { type Person, startWorld, type World } from './world.ts'

const ACCOUNT = 'adele@contoso.test'
let world: World
let wendy: Person
let looks: Looks

beforeAll(async () => {
  world = await startWorld({ MICROSOFT_WATCH: 'mail' })
  wendy = await world.signedIn('wendy@example.com')
  looks = startLooking()
})
afterAll(() => world?.close())

const row = async () =>
  (
    await world.sql<{ state: string; theirs: string; renewed: number }>(
      `select state, provider_subscription_id as theirs, extract(epoch from auth.clock() - last_renewed_at)::int as renewed
         from auth.subscriptions where kind = 'mail' order by created_at desc limit 1`,
    )
  )[0]
const until = async (what: string, isSo: () => Promise<boolean>) => {
  for (const end = Date.now() + 15_000; Date.now() < end; await new Promise((r) => setTimeout(r, 100)))
    if (await isSo()) return
  throw new Error(`waited in vain: ${what}`)
}
const open = async () => {
  const { page } = wendy
  await page.goto(`${world.console}/connections`)
  await page.getByText(/^Details of Mail/).click()
  return page
}

describe('what is watched', { timeout: 90_000 }, () => {
  test('is shown with its times, and the last push once one came', async () => {
    const { page } = wendy
    await world.control('/choose', { provider: 'microsoft', account: ACCOUNT })
    await page.getByRole('button', { name: /^Connect Microsoft/ }).click()
    await page.waitForURL(/\/auth\/success/)
    await until('it is live', async () => (await row())?.state === 'active')
    await open()
    await page.getByText('Receiving', { exact: true }).waitFor()
    for (const name of [
      'Watched since',
      'Until',
      'Last renewed',
      'Next renewal',
      'Last checked',
      'Next check',
    ])
      await page.getByText(name, { exact: true }).waitFor()
    await page.getByText('Nothing received yet').waitFor()
    await world.control('/message', { provider: 'microsoft', account: ACCOUNT, subject: 'Hello' })
    const noted = 'select 1 from auth.subscriptions where last_notification_at is not null'
    await until('the push is noted', async () => (await world.sql(noted)).length === 1)
    await open()
    await page
      .getByText(/^Last received/)
      .first()
      .waitFor()
    await looks.at(page, '60-watched')
  })

  test('a gap and what was missed stand on the page', async () => {
    await world.sql(
      `insert into auth.subscription_gaps (subscription_id, connection_id, reason, from_at, to_at)
       select id, connection_id, 'missed', auth.clock() - interval '2 hours', auth.clock() - interval '1 hour' from auth.subscriptions`,
    )
    await world.sql('update auth.subscription_checks set missed = 2, missed_at = auth.clock()')
    const page = await open()
    await page.getByText(/^A change was not sent to us, found/).waitFor()
    await page.getByText('One gap in thirty days:').waitFor()
    await page.getByText('Not pushed, 2 times, last').waitFor()
    await looks.at(page, '61-missed')
  })

  test('the button renews it, not within ten minutes of the last time', async () => {
    await world.sql(`update auth.subscriptions set last_renewed_at = auth.clock() - interval '1 hour'`)
    const before = await row()
    const page = await open()
    await page.getByRole('button', { name: 'Renew now: Mail' }).click()
    await page.getByText(/^Renewed within a minute/).waitFor()
    await until('it is renewed', async () => ((await row())?.renewed ?? 3_600) < 60)
    expect((await row())?.theirs).toBe(before?.theirs)
  })

  test('it is switched off, also at the provider, and on again', async () => {
    const live = async () =>
      (await world.control<{ microsoft: { subscriptions: unknown[] } }>('/state')).microsoft.subscriptions
        .length
    const page = await open()
    await page.getByRole('button', { name: 'Stop watching: Mail' }).click()
    await page.getByText('Off', { exact: true }).waitFor()
    await until('it is over at the provider', async () => (await live()) === 0)
    await looks.at(page, '62-off')
    await page.getByRole('button', { name: 'Watch again: Mail' }).click()
    await until('it is live again', async () => (await row())?.state === 'active' && (await live()) === 1)
    await open()
    await page.getByText('Receiving', { exact: true }).waitFor()
  })

  test('nothing was wrong on any page', () => {
    expect(looks.violations).toEqual([])
    expect(looks.tooWide).toEqual([])
    expect(wendy.complaints).toEqual([])
  })
})
