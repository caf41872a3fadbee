/**
 * What an administrator does with destinations and deliveries, in a real browser: makes one, is told what is wrong with
 * an address, tests it, sees a delivery die, retries it, rotates the secret, pauses and deletes. Every page is looked at.
 */

import { Webhook } from 'standardwebhooks'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { newId } from '../../../auth/src/platform/ids.ts'
import { type Receiver, startReceiver } from '../../../auth/test/delivery/receiver.ts'
import { type Looks, startLooking } from './look.ts'
import { type Person, startWorld, type World } from './world.ts'

let receiver: Receiver
let world: World
let ada: Person
let looks: Looks
let status = 204
let secret = ''

beforeAll(async () => {
  receiver = await startReceiver((_request, response) => {
    response
      .writeHead(status, { 'x-answer': '<b>bold</b>' })
      .end(status === 204 ? '' : '<script>alert(1)</script>')
  })
  world = await startWorld({ EGRESS_ALLOW: `127.0.0.1:${receiver.port}/hook` })
  ada = await world.signedIn('ada@example.com', 'admin')
  looks = startLooking()
})
afterAll(async () => {
  await world?.close()
  await receiver?.close()
})

/** An event and its delivery to the destination of this name, as a rule would have made them. */
async function deliver(name: string): Promise<string> {
  const id = newId('dlv')
  const event = newId('evt')
  await world.sql(
    `with event as (
       insert into auth.events (id, recorded_at, type, source, data)
       values ($1, date_trunc('milliseconds', auth.clock()), 'ca.flovify.mail.mailbox.v1.notified', 'https://hooks.test/x', '{"specversion":"1.0"}')
       returning id, recorded_at)
     insert into auth.deliveries (id, event_id, event_recorded_at, destination_id, rule_id, due_at, created_at)
     select $2, event.id, event.recorded_at, d.id, 'rul_test', auth.clock(), auth.clock()
       from event, auth.destinations d where d.name = $3`,
    [event, id, name],
  )
  return id
}

async function rotations(): Promise<number> {
  return (await world.sql(`select 1 from auth.audit where action = 'destination.secret_rotated'`, [])).length
}

describe('an administrator and a destination', { timeout: 120_000 }, () => {
  test('DO-02 an address inside the network is refused in words, at its field', async () => {
    const { page } = ada
    await page.getByRole('link', { name: 'Destinations', exact: true }).click()
    await page.getByRole('heading', { name: 'Destinations', exact: true }).waitFor()
    await page.getByText('local receiver').first().waitFor()
    await page.getByRole('link', { name: 'New destination' }).click()
    await page.getByLabel('Name', { exact: true }).fill('Orders')
    await page.getByLabel('URL', { exact: true }).fill('http://169.254.169.254/latest')
    await page.getByRole('button', { name: 'Create it' }).click()
    await page.getByRole('alert').waitFor()
    expect(await page.getByLabel('URL', { exact: true }).getAttribute('aria-invalid')).toBe('true')
    expect(await page.evaluate<string>('document.activeElement.getAttribute("role")')).toBe('alert')
    await page.getByText('Pace and retries').click()
    await page.getByRole('button', { name: 'Add a header' }).click()
    await looks.at(page, '40-new-destination')
  })

  test('a new one shows its secret once, and what it sends is signed with it', async () => {
    const { page } = ada
    await page.getByLabel('URL', { exact: true }).fill(receiver.url)
    await page.getByLabel('Waits before the next tries, in seconds').fill('none')
    await page.getByLabel('Name of header 1').fill('x-api-key')
    await page.getByLabel('Value of header 1').fill('letmein-0123456789')
    await page.getByRole('button', { name: 'Create it' }).click()
    await page.getByRole('heading', { name: 'Orders is ready' }).waitFor()
    secret = (await page.locator('.secret-once code').textContent()) ?? ''
    expect(secret).toMatch(/^whsec_/)
    await looks.at(page, '41-secret-once')
    await page.getByRole('link', { name: /^Go on/ }).click()
    await page.getByRole('button', { name: 'Send a test event' }).click()
    await page.locator('.test-answer .pill-good').waitFor()
    const [sent] = receiver.requests
    expect(sent?.headers['x-api-key']).toBe('letmein-0123456789')
    new Webhook(secret).verify(sent?.body ?? '', { ...sent?.headers } as Record<string, string>)
    expect(await page.content()).not.toContain('letmein-0123456789')
    await looks.at(page, '42-destination')
  })

  test('BC-07 a delivery that failed for good says why, and the answer is shown as text', async () => {
    const { page } = ada
    status = 500
    await deliver('Orders')
    await page.goto(`${world.console}/deliveries`)
    await page.getByLabel('State').selectOption('dead')
    await page.getByRole('button', { name: 'Show' }).click()
    await page.locator('.listed .pill-bad').waitFor()
    await looks.at(page, '43-dead-letters')
    await page.locator('.listed-row').first().click()
    await page.getByText('All its tries are used up.').waitFor()
    await page.getByText('It had an error of its own.').waitFor()
    await page.getByText('What it answered to attempt 1').click()
    expect(await page.locator('pre.answer').textContent()).toContain('<script>alert(1)</script>')
    await looks.at(page, '44-delivery')
  })

  test('DO-10 one dead delivery is retried, by a double click once, and again when it died again', async () => {
    const { page } = ada
    await page.getByRole('button', { name: 'Retry this delivery' }).click()
    await page.getByText('Attempt 2: failed').waitFor()
    status = 204
    const before = receiver.requests.length
    await page.getByRole('button', { name: 'Retry this delivery' }).dblclick()
    await page.locator('.event-head .pill-good').waitFor()
    await expect.poll(() => receiver.requests.length).toBe(before + 1)
    const ids = receiver.requests.slice(1).map(({ headers }) => headers['webhook-id'])
    expect(new Set(ids).size).toBe(1)
  })

  test('all that died at a destination are retried after the count was shown', async () => {
    const { page } = ada
    status = 500
    const made = await Promise.all([deliver('Orders'), deliver('Orders'), deliver('Orders')])
    await expect
      .poll(async () => (await world.sql(`select 1 from auth.deliveries where state = 'dead'`)).length)
      .toBe(made.length)
    status = 204
    await page.goto(`${world.console}/destinations`)
    await page.getByRole('link', { name: '3 dead' }).click()
    await page.getByRole('button', { name: 'Retry all 3 dead' }).click()
    await page.getByText(/^3 dead deliveries to/).waitFor()
    await looks.at(page, '45-retry-all')
    await page.getByRole('button', { name: 'Retry all 3', exact: true }).dblclick()
    await page.getByText(/^3 deliveries are on the way again/).waitFor()
    await expect
      .poll(
        async () =>
          (
            await world.sql(
              `select 1 from auth.delivery_outcomes where id = any($1) and state = 'delivered'`,
              [made],
            )
          ).length,
        { timeout: 20_000 },
      )
      .toBe(3)
    // what dies after it is offered again, without leaving the page
    status = 500
    await deliver('Orders')
    await page.getByRole('button', { name: 'Retry all 1 dead' }).waitFor({ timeout: 40_000 })
    status = 204
    await page.getByRole('button', { name: 'Retry all 1 dead' }).click()
    await page.getByRole('button', { name: 'Retry it', exact: true }).click()
    await page.getByText(/^One delivery is on the way again/).waitFor()
  })

  test('DO-05 a rotation shows the new secret once, and both sign', async () => {
    const { page } = ada
    await page.goto(`${world.console}/destinations`)
    await page.getByRole('link', { name: 'Orders' }).click()
    await page.getByRole('button', { name: 'Make a new secret' }).dblclick()
    const next = (await page.locator('.secret-once code').textContent()) ?? ''
    expect(next).toMatch(/^whsec_/)
    expect(next).not.toBe(secret)
    const before = receiver.requests.length
    await page.getByRole('button', { name: 'Send a test event' }).click()
    await expect.poll(() => receiver.requests.length).toBe(before + 1)
    const sent = receiver.requests.at(-1)
    for (const one of [secret, next])
      new Webhook(one).verify(sent?.body ?? '', { ...sent?.headers } as Record<string, string>)
    await looks.at(page, '46-rotated')
  })

  test('DO-05 while two secrets sign, what ends the earlier one is asked for by itself', async () => {
    const { page } = ada
    const shown = page.locator('.secret-once code')
    const next = await shown.textContent()
    const another = page.getByRole('button', { name: 'Make another secret' })
    await another.dblclick()
    await page.getByText('This ends the earlier secret at once.').waitFor()
    await looks.at(page, '46-another-secret')
    expect(await rotations()).toBe(1)
    await page.getByRole('button', { name: 'Keep both' }).click()
    expect(await shown.textContent()).toBe(next)
    await another.click()
    await page.getByRole('button', { name: 'End it and make another' }).dblclick()
    await expect.poll(() => shown.textContent()).not.toBe(next)
    expect(await rotations()).toBe(2)
  })

  test('a change goes out alone; a pause holds; a deletion says first what it does', async () => {
    const { page } = ada
    await page.getByRole('link', { name: 'Change', exact: true }).click()
    await page.getByLabel('Name', { exact: true }).fill('Orders, renamed')
    await page.getByText('Stored: x-api-key. They stay.').waitFor()
    await looks.at(page, '47-change')
    await page.getByLabel('URL', { exact: true }).fill('https://elsewhere.example/hook')
    await page.getByText(/are not sent to this one: give their values again/).waitFor()
    await page.getByRole('button', { name: 'Save' }).click()
    await page.getByRole('alert').waitFor()
    await looks.at(page, '47-elsewhere')
    await page.getByRole('button', { name: 'Give their values again' }).click()
    expect(await page.getByLabel('Name of header 1').inputValue()).toBe('x-api-key')
    await page.reload()
    await page.getByLabel('Name', { exact: true }).fill('Orders, renamed')
    await page.getByRole('button', { name: 'Save' }).click()
    await page.getByRole('heading', { name: 'Orders, renamed' }).waitFor()
    await page.getByRole('button', { name: 'Pause: Orders, renamed' }).click()
    await page.getByText('What arrives is held and sent when you resume.').waitFor()
    const held = await deliver('Orders, renamed')
    await page.goto(`${world.console}/deliveries?state=paused`)
    await page.getByText('Held: paused').waitFor()
    await page.locator('.listed-row').first().click()
    await page.getByText('Its destination is paused: it is sent when somebody resumes it.').waitFor()
    await page.locator('.event-head').getByText('Held: paused').waitFor()
    await looks.at(page, '47-held')
    await page.getByRole('link', { name: 'Its event' }).click()
    await page.getByText('Its destination is paused: it is sent when somebody resumes it.').waitFor()
    await looks.at(page, '47-held-event')
    await page.goto(`${world.console}/destinations`)
    await looks.at(page, '48-destinations')
    await page.getByRole('link', { name: 'Orders, renamed' }).click()
    await page.getByRole('button', { name: 'Delete this destination' }).click()
    await page.getByText(/One delivery that waits or is dead ends as cancelled/).waitFor()
    await looks.at(page, '49-delete')
    await page.getByRole('button', { name: 'Delete it' }).click()
    await page.getByRole('heading', { name: 'Destinations', exact: true }).waitFor()
    await expect.poll(() => page.getByText('Orders, renamed').count()).toBe(0)
    await page.goto(`${world.console}/deliveries`)
    await page.getByLabel('Destination').selectOption({ label: 'Orders, renamed (deleted)' })
    await page.getByRole('button', { name: 'Show' }).click()
    await page.waitForURL(/destination=dst_/)
    await expect.poll(() => page.locator('.listed-row').count()).toBeGreaterThan(0)
    expect(new Set(await page.locator('.listed-what strong').allTextContents())).toEqual(
      new Set(['Orders, renamed']),
    )
    await page.goto(`${world.console}/deliveries/${held}`)
    await page.getByText('The destination was deleted.').waitFor()
    await page.getByRole('link', { name: 'Its event' }).waitFor()
    // as retention does
    await world.sql(
      'delete from auth.events where id = (select event_id from auth.delivery_outcomes where id = $1)',
      [held],
    )
    await page.reload()
    await page.getByText('Its event is older than what is kept').waitFor()
    await page.getByText('The destination was deleted.').waitFor()
  })

  test('BC-05 somebody who is no administrator is told so, and nothing is shown', async () => {
    const { page } = await world.signedIn('uma@example.com')
    expect(await page.getByRole('link', { name: 'Destinations' }).count()).toBe(0)
    await page.goto(`${world.console}/destinations`)
    await page.getByRole('heading', { name: 'For administrators' }).waitFor()
    await looks.at(page, '50-administrators-only')
  })

  test('every page was looked at: axe finds nothing, none is too wide, the browser complains about nothing', () => {
    expect(looks.violations).toEqual([])
    expect(looks.tooWide).toEqual([])
    expect(ada.complaints).toEqual([])
    expect(looks.names.length).toBeGreaterThan(9)
  })
})
