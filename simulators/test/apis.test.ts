/** What a proxy in front of the APIs meets: bearer checks, throttling, redirects, and a journal without secrets. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Simulators } from '../src/start.ts'
import {
  call,
  connectGoogle,
  consent,
  control,
  type Json,
  microsoftAuthUrl,
  type Receiver,
  redeemMicrosoft,
  start,
  startReceiver,
  withBearer,
} from './harness.ts'

let receiver: Receiver
let simulators: Simulators
let graph: string
let google: string
const adele = 'adele@contoso.test'

beforeAll(async () => {
  receiver = await startReceiver()
  simulators = await start(receiver)
  const scope = 'openid profile offline_access Mail.Read Mail.Send Files.ReadWrite.All Calendars.ReadWrite'
  const { parameters } = await consent(simulators, microsoftAuthUrl(simulators, { scope }), adele)
  graph = (await redeemMicrosoft(simulators, parameters.get('code') ?? '')).json.access_token
  google = (await connectGoogle(simulators)).access_token
})
beforeEach(async () => {
  await control(simulators).post('/reset', {})
  await control(simulators).post('/clock', { offsetMs: 0 })
})
afterAll(async () => {
  await simulators.close()
  await receiver.close()
})

const ms = (path: string, init: RequestInit = {}, bearer = graph) =>
  call(simulators.microsoftUrl + path, withBearer(bearer, init))
const change = async (what: string, more: Record<string, unknown> = {}): Promise<Json> =>
  (await control(simulators).post('/change', { provider: 'microsoft', account: adele, what, ...more })).json
    .change.item

test('an API answers the live token, and 401 with a challenge to an expired, unknown or missing one', async () => {
  const userinfo = `${simulators.googleUrl}/v1/userinfo`
  expect((await ms('/v1.0/me')).json.mail).toBe(adele)
  expect((await call(userinfo, withBearer(google))).json.email).toBe('gita@flow.test')
  await control(simulators).post('/clock', { advanceMs: 86_400_000 })
  for (const [url, bearer] of [
    [`${simulators.microsoftUrl}/v1.0/me`, graph],
    [`${simulators.microsoftUrl}/v1.0/me`, 'unknown'],
    [userinfo, google],
  ] as const) {
    const refused = await call(url, withBearer(bearer))
    expect(refused.status).toBe(401)
    expect(refused.headers.get('www-authenticate')).toContain('error="invalid_token"')
    const date = refused.json.error.innerError?.date
    if (date !== undefined) expect(Date.parse(`${date}Z`)).toBeGreaterThan(Date.now() + 80_000_000)
  }
  expect((await call(userinfo)).status).toBe(401)
})

test('throttling comes with a fractional Retry-After as often as told', async () => {
  const body = { error: { code: 'TooManyRequests', message: 'Please retry again later.' } }
  const apiError = { status: 429, headers: { 'Retry-After': '2.128' }, body, times: 1 }
  for (const provider of ['microsoft', 'google'])
    await control(simulators).post('/faults', { provider, apiError })
  const throttled = await ms('/v1.0/me')
  expect([throttled.status, throttled.headers.get('retry-after')]).toEqual([429, '2.128'])
  expect((await ms('/v1.0/me')).status).toBe(200)
  const profile = `${simulators.googleUrl}/gmail/v1/users/me/profile`
  expect((await call(profile, withBearer(google))).status).toBe(429)
  expect((await call(profile, withBearer(google))).status).toBe(200)
})

test('a download is a redirect to an address that needs no token, or wherever the switch says', async () => {
  const { id, content } = await change('file', { name: 'report.txt' })
  const redirected = await ms(`/v1.0/me/drive/items/${id}/content`)
  expect(redirected.status).toBe(302)
  const location = redirected.headers.get('location') ?? ''
  expect((await call(location)).text).toBe(content)
  expect((await call(`${location}x`)).status).toBe(404)
  await control(simulators).post('/clock', { advanceMs: 3_600_000 })
  expect((await call(location)).status).toBe(404)
  await control(simulators).post('/clock', { offsetMs: 0 })
  await control(simulators).post('/faults', { provider: 'microsoft', redirectTo: 'http://169.254.169.254/' })
  const elsewhere = await ms(`/v1.0/me/drive/items/${id}/content`)
  expect(elsewhere.headers.get('location')).toBe('http://169.254.169.254/')
})

test('the journal tells the names of headers and whether there was a token, never a value', async () => {
  const message = JSON.stringify({ message: { subject: 'x' } })
  const sent = await call(`${simulators.microsoftUrl}/v1.0/me/sendMail?secret=query`, {
    method: 'POST',
    headers: { authorization: `Bearer ${graph}`, 'x-probe': 'value-of-probe' },
    body: message,
  })
  expect(sent.status).toBe(202)
  await call(`${simulators.microsoftUrl}/v1.0/me`)
  const { json, text } = await control(simulators).get('/state')
  const [first, second] = json.microsoft.apiRequests
  expect(first).toMatchObject({ method: 'POST', path: '/v1.0/me/sendMail', authorization: true })
  expect(first.headers).toEqual(expect.arrayContaining(['authorization', 'x-probe']))
  expect(first.bodyBytes).toBe(message.length)
  expect(second.authorization).toBe(false)
  for (const secret of [graph, 'value-of-probe', 'secret=query']) expect(text).not.toContain(secret)
})

test('OneDrive and calendar tell changes by delta, deletions too, and 410 with a fresh start when too old', async () => {
  const file = await change('file')
  const drive = (await ms('/v1.0/me/drive/root/delta')).json
  expect(drive.value.at(-1)).toMatchObject({ id: file.id, file: {} })
  await change('file', { id: file.id, remove: true })
  const path = new URL(drive['@odata.deltaLink'])
  expect((await ms(path.pathname + path.search)).json.value).toMatchObject([{ id: file.id, deleted: {} }])
  const latest = (await ms('/v1.0/me/drive/root/delta?token=latest')).json
  expect(latest.value).toEqual([])

  const event = await change('event', { name: 'Meeting' })
  const view = '/v1.0/me/calendarView/delta'
  const first = (await ms(`${view}?startDateTime=2026-01-01&endDateTime=2027-01-01`)).json
  expect(first.value.at(-1)).toMatchObject({ id: event.id, subject: 'Meeting' })
  await change('event', { id: event.id, remove: true })
  const next = new URL(first['@odata.deltaLink'])
  const removed = (await ms(next.pathname + next.search)).json.value
  expect(removed).toEqual([{ id: event.id, '@removed': { reason: 'deleted' } }])
  await control(simulators).post('/faults', { provider: 'microsoft', historyExpired: true })
  const gone = await ms(next.pathname + next.search)
  expect([gone.status, gone.json.error.code]).toEqual([410, 'syncStateNotFound'])
  expect(gone.headers.get('location')).toBe(simulators.microsoftUrl + view)
})
