/**
 * Text from outside that wants to be more than text: names of accounts, types and subjects of events, payloads, reasons
 * and errors. It is shown as the characters that it is, breaks no page, and the browser reports nothing.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { newId } from '../../../auth/src/platform/ids.ts'
import { type Looks, startLooking } from './look.ts'
import { beginFlow, consent, type Person, startWorld, type World } from './world.ts'

const HOSTILE = [
  ['an image that fails', '<img src=x onerror="alert(1)">'],
  ['a script after a closed attribute', `"><script>alert(2)</script>'`],
  [
    'a frame and a style',
    '<iframe srcdoc="<script>alert(3)</script>"></iframe><style>*{display:none}</style>',
  ],
  ['an address that is a script', 'javascript:alert(4)'],
  ['a template', '{{constructor.constructor("alert(5)")()}} <%= 7*7 %>'],
  ['text turned around', 'moc.elgoog\u202Egnp.exe\u2066'],
  ['4 KB without a space', 'W'.repeat(4096)],
  ['4 KB of marks above one letter', `a${'\u0301'.repeat(2047)}`],
] as const

let world: World
let hal: Person
let looks: Looks
let connection: { id: string; owner_id: string }

beforeAll(async () => {
  world = await startWorld()
  looks = startLooking()
  hal = await world.signedIn('hal@example.com')
  await hal.page.goto(await beginFlow(hal.page, 'google'))
  await consent(hal.page, 'hugo@flow.test')
  await hal.page.getByRole('heading', { name: 'Account connected' }).waitFor()
  const [made] = await world.sql<typeof connection>('select id, owner_id from auth.oauth_tokens')
  if (made === undefined) throw new Error('Nothing was connected.')
  connection = made
})
afterAll(() => world?.close())

test('BC-07 the browser does report what this test listens for', async () => {
  const control = await world.person()
  await control.page.goto(`${world.console}/signin`)
  await control.page.evaluate(
    `document.body.insertAdjacentHTML('beforeend', '<img src="x" onerror="alert(1)">')`,
  )
  await expect.poll(() => control.complaints.join('\n')).toMatch(/policy: script-src/)
  await control.context.close()
})

describe.each(HOSTILE)('%s', (what, text) => {
  const name = `hostile-${what.replaceAll(' ', '-')}`

  test('BC-07 as the name of an account and the reason of its state is shown as text', async () => {
    await world.sql(
      `update auth.oauth_tokens set account_label = $1, status = 'partial', status_reason = $1,
              scope = $1, scope_requested = scope_requested || ' x' where id = $2`,
      [text, connection.id],
    )
    await world.sql(
      `update auth.subscriptions set failure_code = $1, state = 'failed', kind = $1
        where id = (select min(id) from auth.subscriptions where connection_id = $2)`,
      [text, connection.id],
    )
    await hal.page.goto(`${world.console}/connections`)
    const heading = hal.page.locator('.connection h3')
    await heading.waitFor()
    expect(await heading.textContent()).toBe(text)
    expect(await hal.page.locator('.status-text code').textContent()).toBe(text)
    await expectOnlyOurs()
    await looks.at(hal.page, `${name}-account`)
    const button = hal.page.getByRole('button', { name: /^Disconnect/ })
    await button.click()
    expect(await hal.page.locator('fieldset.confirm strong').textContent()).toBe(`Disconnect ${text}?`)
  })

  test('BC-07 in an event, its payload, its delivery and its attempt is shown as text', async () => {
    const id = newId('evt')
    await insertEvent(id, text)
    await hal.page.goto(`${world.console}/events`)
    const row = hal.page.locator(`a[href="/events/${id}"]`)
    await row.waitFor()
    expect(await row.locator('strong').textContent()).toBe(text)
    await expectOnlyOurs()
    await looks.at(hal.page, `${name}-list`)
    await row.click()
    await hal.page.locator('pre.payload').waitFor()
    expect(await hal.page.locator('h1').textContent()).toBe(text)
    expect(await hal.page.locator('pre.payload').textContent()).toContain(JSON.stringify(text))
    expect(await hal.page.locator('.delivery .status-text code').textContent()).toBe(text)
    expect(await hal.page.locator('.step-detail code').last().textContent()).toBe(text)
    const facts = await hal.page.locator('dl.about code').allTextContents()
    expect(facts.filter((fact) => fact === text)).toHaveLength(4)
    await expectOnlyOurs()
    await looks.at(hal.page, `${name}-event`)
  })
})

test('BC-07 no policy violation, dialog or error was reported, nothing is out of shape', () => {
  expect(hal.complaints).toEqual([])
  expect(looks.tooWide).toEqual([])
  expect(looks.violations).toEqual([])
})

/** Nothing on the page was made by the text: no foreign element, no handler, no foreign address. */
async function expectOnlyOurs(): Promise<void> {
  const foreign = await hal.page.evaluate<
    string[]
  >(`[...document.querySelectorAll('body *')].filter((element) =>
    ['script', 'iframe', 'style', 'object', 'embed', 'link'].includes(element.localName)
      || element.getAttributeNames().some((name) => name.startsWith('on'))
      || (element.localName === 'img' && !element.getAttribute('src').startsWith('/assets/'))
      || (element.localName === 'a' && !/^[/#]/.test(element.getAttribute('href')))
  ).map((element) => element.outerHTML)`)
  expect(foreign).toEqual([])
}

async function insertEvent(id: string, text: string): Promise<void> {
  await world.sql('delete from auth.events')
  const payload = Buffer.from(JSON.stringify({ specversion: '1.0', id, type: text, data: { text } }))
  await world.sql(
    `insert into auth.events (id, recorded_at, connection_id, owner_id, provider, type, origin_type, source, subject, data)
     values ($1, now(), $2, $3, 'google', $4, $4, $4, $4, $5)`,
    [id, connection.id, connection.owner_id, text, payload],
  )
  await world.sql(
    `insert into auth.deliveries (id, event_id, event_recorded_at, destination_id, rule_id, state, reason, attempts, created_at, dead_at)
     select replace($1, 'evt', 'dlv'), $1, e.recorded_at, d.id, 'rul_hostile', 'dead', $2, 1, now(), now()
       from auth.events e, auth.destinations d where e.id = $1`,
    [id, text],
  )
  await world.sql(
    `insert into auth.attempts (delivery_id, event_id, destination_id, number, started_at, duration_ms, outcome, status, error)
     select id, event_id, destination_id, 1, now(), 12, 'failed', 500, $2 from auth.deliveries where event_id = $1`,
    [id, text],
  )
}
