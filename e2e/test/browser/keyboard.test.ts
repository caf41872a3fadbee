/**
 * With the keyboard alone, from the sign-in link over both consent pages to the events and out again: only Tab, Space,
 * Enter and, within a group of accounts, the arrows. And what is left of a session after signing out.
 */
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { beginFlow, callBff, consent, type Person, startWorld, type World } from './world.ts'

let world: World
let kim: Person

beforeAll(async () => {
  world = await startWorld()
  kim = await world.person()
})
afterAll(() => world?.close())

describe('with the keyboard alone', () => {
  test('a person signs in with the link', async () => {
    await kim.page.goto(await world.stack.signinUrl('kim@example.com', 'user'))
    await kim.page.getByRole('heading', { name: 'Sign in to Flovify Connect?' }).waitFor()
    await tabTo(kim.page, 'button', 'Sign in')
    await kim.page.keyboard.press('Enter')
    await kim.page.getByRole('heading', { name: 'Connections', exact: true }).waitFor()
    // After a change of page the focus is on its heading, so the way on begins there.
    expect((await focused(kim.page)).name).toBe('Connections')
  })

  test('a Microsoft account is connected', async () => {
    await tabTo(kim.page, 'button', 'Connect Microsoft 365')
    await kim.page.keyboard.press('Enter')
    await kim.page.getByRole('button', { name: 'Accept' }).waitFor()
    await tabTo(kim.page, 'input', 'adele@contoso.test')
    await kim.page.keyboard.press('ArrowDown')
    expect((await focused(kim.page)).name).toContain('bruno@contoso.test')
    await tabTo(kim.page, 'button', 'Accept')
    await kim.page.keyboard.press('Space')
    await kim.page.getByRole('heading', { name: 'Account connected' }).waitFor()
    await kim.page.locator('main').getByText('bruno@contoso.test').waitFor()
  })

  test('a Google account is connected, with one permission left out', async () => {
    await tabTo(kim.page, 'a', 'Go to connections')
    await kim.page.keyboard.press('Enter')
    await tabTo(kim.page, 'button', 'Connect Google Workspace')
    await kim.page.keyboard.press('Space')
    await kim.page.getByRole('button', { name: 'Continue' }).waitFor()
    await tabTo(kim.page, 'input', 'auth/drive')
    await kim.page.keyboard.press('Space')
    await tabTo(kim.page, 'button', 'Continue')
    await kim.page.keyboard.press('Enter')
    await kim.page.getByRole('heading', { name: 'Account connected' }).waitFor()
    await kim.page.getByText('Was not allowed').waitFor()
  })

  test('every stop of the keyboard on the connections page can be seen', async () => {
    await kim.page.goto(`${world.console}/connections`)
    await kim.page.getByRole('heading', { name: 'bruno@contoso.test' }).waitFor()
    const stops: string[] = []
    for (let i = 0; i < 40; i += 1) {
      await kim.page.keyboard.press('Tab')
      const stop = await focused(kim.page)
      if (stop.tag === 'body') break
      stops.push(stop.name)
      expect(stop.outline, `${stop.tag} ${stop.name}`).toBe(true)
    }
    expect(stops[0]).toBe('Skip to content')
    expect(stops).toEqual(
      expect.arrayContaining(['Connections', 'Events', 'Sign out', 'Connect Microsoft 365']),
    )
  })

  test('an event is opened, and the question before disconnecting is answered', async () => {
    await world.control('/message', { provider: 'microsoft', account: 'bruno@contoso.test' })
    await tabTo(kim.page, 'a', 'Events')
    await kim.page.keyboard.press('Enter')
    await kim.page.getByRole('link', { name: 'Change in a mailbox' }).first().waitFor()
    await tabTo(kim.page, 'a', 'Change in a mailbox')
    await kim.page.keyboard.press('Enter')
    await kim.page.getByText('Attempt 1: delivered').waitFor()
    await tabTo(kim.page, 'pre', 'specversion')

    await tabTo(kim.page, 'a', 'Connections')
    await kim.page.keyboard.press('Enter')
    await kim.page.getByRole('heading', { name: 'bruno@contoso.test' }).waitFor()
    await tabTo(kim.page, 'button', 'Disconnect bruno@contoso.test')
    await kim.page.keyboard.press('Enter')
    expect((await focused(kim.page)).name).toBe('Keep')
    await kim.page.keyboard.press('Escape')
    expect((await focused(kim.page)).name).toBe('Disconnect bruno@contoso.test')
    await kim.page.keyboard.press('Enter')
    await tabTo(kim.page, 'button', 'Disconnect')
    await kim.page.keyboard.press('Enter')
    await kim.page.getByText('Disconnected', { exact: true }).waitFor()
    const left = await world.sql(
      `select status, access_token, refresh_token from auth.oauth_tokens where account_label = 'bruno@contoso.test'`,
    )
    expect(left.map(({ access_token }) => access_token)).toEqual([null])
  })

  test('nothing was reported by the browser on the way', () => {
    expect(kim.complaints).toEqual([])
  })
})

describe('after signing out', () => {
  test('BC-05 the next call is refused, the cookie is gone, and flows of the session are dead', async () => {
    const lou = await world.signedIn('lou@example.com')
    const [first, second] = [await beginFlow(lou.page, 'google'), await beginFlow(lou.page, 'google')]
    const stolen = await lou.context.cookies()
    const before = await world.tokenRequests()
    await lou.page.getByRole('button', { name: 'Sign out' }).click()
    await lou.page.getByRole('heading', { name: 'Sign in with a link' }).waitFor()
    expect(await lou.context.cookies()).toEqual([])
    expect((await callBff(lou.page, 'GET', '/bff/connections')).status).toBe(401)
    // A copy of the cookie is worth nothing any more.
    await lou.context.addCookies(stolen)
    expect((await callBff(lou.page, 'GET', '/bff/connections')).status).toBe(401)
    await lou.context.clearCookies()

    await lou.page.goto(first)
    await consent(lou.page, 'hugo@flow.test')
    await lou.page.getByRole('heading', { name: 'This link is not valid' }).waitFor()

    // The same person, but another session.
    await lou.page.goto(await world.stack.signinUrl('lou@example.com', 'user'))
    await lou.page.getByRole('button', { name: 'Sign in' }).click()
    await lou.page.getByRole('heading', { name: 'Connections', exact: true }).waitFor()
    await lou.page.goto(second)
    await consent(lou.page, 'hugo@flow.test')
    await lou.page.getByRole('heading', { name: 'This link is not valid' }).waitFor()

    const flows = await world.sql(
      `select s.status, s.reason, s.code from auth.oauth_states s join auth.users u on u.id = s.user_id
        where u.email = 'lou@example.com' order by s.created_at`,
    )
    expect(flows).toEqual([
      { status: 'rejected', reason: 'signed_out', code: null },
      { status: 'rejected', reason: 'signed_out', code: null },
    ])
    expect(await world.tokenRequests()).toBe(before)
    expect(lou.complaints).toEqual([])
  })
})

interface Focus {
  readonly tag: string
  readonly name: string
  readonly outline: boolean
}

/** What has the focus, by the name that a person hears; and whether it is outlined. */
const focused = (page: Page): Promise<Focus> =>
  page.evaluate<Focus>(`(() => {
    const element = document.activeElement
    const style = getComputedStyle(element)
    const text = element.labels?.[0]?.innerText ?? element.getAttribute('aria-label') ?? element.innerText
    return {
      tag: element.localName,
      name: (element.getAttribute('aria-label') ?? text ?? '').trim(),
      outline: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0,
    }
  })()`)

/** Presses Tab until it is there. @throws when it cannot be reached */
async function tabTo(page: Page, tag: string, name: string): Promise<void> {
  for (let i = 0; i < 60; i += 1) {
    await page.keyboard.press('Tab')
    const at = await focused(page)
    if (at.tag === tag && (tag === 'button' ? at.name === name : at.name.includes(name))) return
  }
  throw new Error(`The keyboard does not reach ${tag} ${name}.`)
}
