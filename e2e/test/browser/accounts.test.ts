/**
 * An account's page life, by mouse: something not allowed is named and asked for later, a wrong account is refused in
 * words, an administrator gets a link, and a disconnect says before what it will do. Every page is looked at.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Looks, startLooking } from './look.ts'
import { type Person, startWorld, type World } from './world.ts'

const GMAIL = 'https://www.googleapis.com/auth/gmail.readonly'
const DRIVE = 'https://www.googleapis.com/auth/drive'

let world: World
let wendy: Person
let looks: Looks

beforeAll(async () => {
  world = await startWorld()
  wendy = await world.signedIn('wendy@example.com')
  looks = startLooking()
})
afterAll(() => world?.close())

/** The next consent page is answered by this account, without a person looking at it. */
const choose = (provider: string, account: string, scopes?: string[]) =>
  world.control('/choose', { provider, account, ...(scopes !== undefined && { scopes }) })

describe('connected accounts', { timeout: 90_000 }, () => {
  test('OA-17 OA-11 the success page names provider and account; what was not allowed is named', async () => {
    const { page } = wendy
    await choose('google', 'gita@flow.test', [DRIVE])
    await page.getByRole('button', { name: /^Connect Google/ }).click()
    await page.waitForURL(/\/auth\/success/)
    await page.getByText('gita@flow.test').first().waitFor()
    await page.getByText('Google Workspace', { exact: true }).first().waitFor()
    await page.goto(`${world.console}/connections`)
    await page.getByText('Some permissions missing').waitFor()
    await page.getByText('Was not allowed', { exact: true }).waitFor()
    await looks.at(page, '30-partial')
  })

  test('more is asked for later: the missing ones are ticked already', async () => {
    const { page } = wendy
    await page.getByRole('button', { name: /^Allow more/ }).click()
    const mail = page.getByRole('checkbox', { name: /^Read your mail\./ })
    expect(await mail.isChecked()).toBe(true)
    await page.getByRole('checkbox', { name: /^Send mail/ }).check()
    await looks.at(page, '31-allow-more')
    await choose('google', 'gita@flow.test')
    await page.getByRole('button', { name: /^Ask Google/ }).click()
    await page.waitForURL(/\/auth\/success/)
    await page.getByText('gita@flow.test').first().waitFor()
    await page.goto(`${world.console}/connections`)
    await page.getByText('Active', { exact: true }).waitFor()
    const [row] = await world.sql<{ scope: string }>('select scope from auth.oauth_tokens')
    expect(row?.scope.split(' ')).toEqual(expect.arrayContaining([GMAIL, DRIVE]))
  })

  test('OA-10 a reconnect with another account is refused in words, and the old one stays', async () => {
    const { page } = wendy
    await world.sql(
      `update auth.oauth_tokens set status = 'reauth_required', status_reason = 'invalid_grant'`,
    )
    await page.goto(`${world.console}/connections`)
    await page.getByText('Sign-in needed').waitFor()
    await looks.at(page, '32-sign-in-needed')
    await choose('google', 'hugo@flow.test')
    await page.getByRole('button', { name: /^Connect again/ }).click()
    await page.getByRole('heading', { name: 'That was another account' }).waitFor()
    await looks.at(page, '33-another-account')
    expect(await world.sql('select account_label from auth.oauth_tokens')).toEqual([
      { account_label: 'gita@flow.test' },
    ])
    await page.goto(`${world.console}/connections`)
    await choose('google', 'gita@flow.test')
    await page.getByRole('button', { name: /^Connect again/ }).click()
    await page.waitForURL(/\/auth\/success/)
  })

  test('where an administrator must agree, the page makes a link to pass on', async () => {
    const { page } = wendy
    await world.control('/faults', { provider: 'microsoft', requireAdmin: { at: 'callback' } })
    await choose('microsoft', 'bruno@contoso.test')
    await page.goto(`${world.console}/connections`)
    await page.getByRole('button', { name: /^Connect Microsoft/ }).click()
    await page.getByRole('heading', { name: 'Your organisation must approve this first' }).waitFor()
    await page.getByRole('button', { name: /administrator/ }).click()
    await page.getByText('/organizations/v2.0/adminconsent').waitFor()
    await looks.at(page, '34-administrator')
    await world.control('/faults', { provider: 'microsoft', requireAdmin: null })
  })

  test('OA-13 a disconnect says before what it does, and after that it is done', async () => {
    const { page } = wendy
    await page.goto(`${world.console}/connections`)
    await page.getByRole('button', { name: /^Disconnect gita/ }).click()
    await page.getByText('The consent is withdrawn at Google').waitFor()
    await looks.at(page, '35-disconnect')
    await page.getByRole('button', { name: 'Disconnect', exact: true }).click()
    await page.getByText('Disconnected', { exact: true }).waitFor()
    await looks.at(page, '36-disconnected')
  })

  test('nothing was wrong on any page: no violation, no scrolling sideways, no complaint of the browser', () => {
    expect(looks.names.length).toBeGreaterThanOrEqual(7)
    expect(looks.violations).toEqual([])
    expect(looks.tooWide).toEqual([])
    expect(wendy.complaints).toEqual([])
  })
})
