/** The pages for a person: forms, policy, escaping, and what a browser without scripts can do. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Simulators } from '../src/start.ts'
import {
  call,
  control,
  form,
  gmailScope,
  googleAuthUrl,
  microsoftAuthUrl,
  microsoftRedirect,
  type Receiver,
  redeemMicrosoft,
  start,
  startReceiver,
} from './harness.ts'

let receiver: Receiver
let simulators: Simulators

beforeAll(async () => {
  receiver = await startReceiver()
  simulators = await start(receiver)
})
beforeEach(() => control(simulators).post('/reset', {}))
afterAll(async () => {
  await simulators.close()
  await receiver.close()
})

const hidden = (html: string, name: string) =>
  new RegExp(`<input type="hidden" name="${name}" value="([^"]*)"`).exec(html)?.[1] ?? ''
const microsoftPost = (values: Record<string, string>) =>
  call(`${simulators.microsoftUrl}/common/oauth2/v2.0/authorize`, form(values))

test('Microsoft: the page offers the accounts, lists the scopes without boxes, and needs no script', async () => {
  const page = await call(microsoftAuthUrl(simulators, { login_hint: 'bruno@contoso.test' }))
  expect(page.status).toBe(200)
  expect(page.text).toMatch(/value="bruno@contoso\.test" checked/)
  expect(page.text).toContain('value="adele@contoso.test"')
  expect(page.text).toContain('Mail.Read')
  expect(page.text).not.toContain('type="checkbox"')
  expect(page.text).not.toContain('<script')
  expect(page.text.match(/<label[^>]+for="account-\d"/g)).toHaveLength(5)
  const policy = page.headers.get('content-security-policy') ?? ''
  expect(policy).toContain("default-src 'none'")
  expect(policy).not.toContain('script-src')
  expect(policy).toContain("form-action 'self' http://127.0.0.1:8000")
  expect(policy).toContain("frame-ancestors 'none'")
})

test('Microsoft: Accept leads to a form that posts itself and has a button, whose code is good', async () => {
  const page = await call(microsoftAuthUrl(simulators))
  const request = hidden(page.text, 'request')
  const answer = await microsoftPost({ request, account: 'bruno@contoso.test', decision: 'accept' })
  expect(answer.text).toContain(`action="${microsoftRedirect}"`)
  expect(answer.text).toContain('<button type="submit"')
  const nonce = /<script nonce="([^"]+)">/.exec(answer.text)?.[1]
  expect(answer.headers.get('content-security-policy')).toContain(`script-src 'nonce-${nonce}'`)
  expect(hidden(answer.text, 'state')).toBe('state-1')
  const tokens = await redeemMicrosoft(simulators, hidden(answer.text, 'code'))
  expect(tokens.status).toBe(200)
  const cancelled = await microsoftPost({ request, account: 'bruno@contoso.test', decision: 'cancel' })
  expect(hidden(cancelled.text, 'error')).toBe('access_denied')
  expect((await microsoftPost({ request: 'unknown', decision: 'accept' })).status).toBe(400)
})

test('Microsoft: asked for query it redirects, and a state full of markup is escaped in the form', async () => {
  await control(simulators).post('/faults', { provider: 'microsoft', skipConsent: 'bruno@contoso.test' })
  const query = await call(microsoftAuthUrl(simulators, { response_mode: 'query' }))
  expect(query.status).toBe(302)
  expect(query.headers.get('location')).toContain(`${microsoftRedirect}?code=`)
  const state = `"><script>alert(1)</script>'&`
  const posted = await call(microsoftAuthUrl(simulators, { state }))
  expect(posted.text).not.toContain('<script>alert')
  expect(posted.text).toContain('&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&#39;&amp;')
})

test('Google: a box per scope but openid; unticked ones are not granted; none at all is a denial', async () => {
  const page = await call(googleAuthUrl(simulators))
  expect(page.text.match(/type="checkbox"/g)).toHaveLength(4)
  const request = hidden(page.text, 'request')
  const post = async (values: [string, string][]) => {
    const body = new URLSearchParams([['request', request], ['account', 'hugo@flow.test'], ...values])
    const answer = await call(`${simulators.googleUrl}/o/oauth2/v2/auth`, { method: 'POST', body })
    expect(answer.status).toBe(302)
    return new URL(answer.headers.get('location') ?? '').searchParams
  }
  const partial = await post([
    ['decision', 'accept'],
    ['scope', gmailScope],
  ])
  expect(partial.get('scope')).toBe(`${gmailScope} openid`)
  expect((await post([['decision', 'accept']])).get('error')).toBe('access_denied')
  const cancelled = await post([
    ['decision', 'cancel'],
    ['scope', gmailScope],
  ])
  expect([cancelled.get('error'), cancelled.get('state')]).toEqual(['access_denied', 'state-1'])
})
