/**
 * One person begins, another one's browser ends: whoever finishes must be who began. With two browser profiles, the real
 * redirects and form posts, and the simulators counting token requests.
 */
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Deps } from '../../../bff/src/deps.ts'
import { routes } from '../../../bff/src/routes.ts'
import { beginFlow, callBff, consent, type Person, startWorld, type World } from './world.ts'

const ALICE = 'alice@example.com'
const BOB = 'bob@example.com'
const PROVIDERS = [
  { provider: 'microsoft', account: 'bruno@contoso.test' },
  { provider: 'google', account: 'hugo@flow.test' },
]

let world: World
let alice: Person

beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world?.close())
beforeEach(async () => {
  await world.sql('delete from auth.oauth_states')
  await world.control('/reset', {})
  alice = await world.signedIn(ALICE)
})
afterEach(async () => {
  await Promise.all(world.browser.contexts().map((context) => context.close()))
})

describe.each(PROVIDERS)('a flow of Alice at $provider', ({ provider, account }) => {
  test('OA-01 finished by Bob, signed in as Bob, is burned and nothing is exchanged', async () => {
    const bob = await world.signedIn(BOB)
    await bob.page.goto(await beginFlow(alice.page, provider))
    await consent(bob.page, account)
    await bob.page.getByRole('heading', { name: 'This connection was cancelled' }).waitFor()
    await expectBurned('other_user')
    await expectNothingConnected(alice, bob)
  })

  test('OA-01 finished by a browser that is not signed in is burned and nothing is exchanged', async () => {
    const stranger = await world.person()
    await stranger.page.goto(await beginFlow(alice.page, provider))
    await consent(stranger.page, account)
    await stranger.page.getByRole('heading', { name: 'You are not signed in here' }).waitFor()
    await expectBurned('no_session')
    await expectNothingConnected(alice)
  })

  test('OA-02 with its ticket sent to Bob in the address of the success page is burned when he opens it', async () => {
    const bob = await world.signedIn(BOB)
    const authUrl = await beginFlow(alice.page, provider)
    // Alice stops where the console would finish.
    const location = await callbackLocation(authUrl, 'gita@flow.test', 'adele@contoso.test')
    await bob.page.goto(location)
    await bob.page.getByRole('heading', { name: 'This connection was cancelled' }).waitFor()
    expect(bob.page.url()).not.toContain('ticket')
    await expectBurned('other_user')
    await expectNothingConnected(alice, bob)
  })

  test('OA-03 with its code and state forced upon Bob’s browser is burned and nothing is exchanged', async () => {
    const bob = await world.signedIn(BOB)
    await forceCallback(bob.page, await beginFlow(alice.page, provider))
    await bob.page.getByRole('heading', { name: 'This connection was cancelled' }).waitFor()
    await expectBurned('other_user')
    await expectNothingConnected(alice, bob)
  })

  test('OA-03 can still be finished by Alice herself, so the refusals above are about the person', async () => {
    await alice.page.goto(await beginFlow(alice.page, provider))
    await consent(alice.page, account)
    await alice.page.getByRole('heading', { name: 'Account connected' }).waitFor()
    expect(await world.tokenRequests()).toBe(1)
    const [connection] = await world.sql<{ id: string }>('select id from auth.oauth_tokens')
    await callBff(alice.page, 'DELETE', `/bff/connections/${connection?.id}`)
    await world.sql('delete from auth.oauth_tokens')
  })
})

test('OA-02 no address of ours starts or binds a flow when it is opened', async () => {
  const bob = await world.signedIn(BOB)
  const authUrl = await beginFlow(alice.page, 'google')
  const state = new URL(authUrl).searchParams.get('state') ?? ''
  const before = await flows()
  const cookies = await bob.context.cookies()
  const opened = [
    ...routes({} as Deps).map(({ path }) => path.replace(':provider', 'google').replace(':id', 'con_1')),
    `/bff/auth/connect/google?state=${state}`,
    `/auth/connect/google?state=${state}`,
    `/auth/start?provider=google&state=${state}`,
    `/auth/success?provider=google&state=${state}`,
    `/auth/success?provider=google#ticket=${state}`,
    `/auth/error?reason=access_denied&state=${state}`,
    `/connections?connect=google&state=${state}`,
    `/signin#${state}`,
  ].map((path) => `${world.console}${path}`)
  opened.push(
    `${world.stack.urls.webhooks}/webhook/oauth/google`,
    `${world.stack.urls.webhooks}/webhook/oauth/google/start?state=${state}`,
    `${world.stack.urls.webhooks}/webhook/oauth/microsoft/callback`,
  )
  expect(opened.length).toBeGreaterThan(20)
  for (const url of opened) {
    await bob.page.goto(url)
    await bob.page.waitForLoadState('networkidle')
    expect(new URL(bob.page.url()).origin).toBe(new URL(url).origin)
  }
  expect(await flows()).toEqual(before)
  expect(await bob.context.cookies()).toEqual(cookies)
  expect(await world.tokenRequests()).toBe(0)
  await expectNothingConnected(alice, bob)
})

const flows = () =>
  world.sql<{ id: string; owner_id: string; status: string; session_binding: Buffer }>(
    'select id, owner_id, status, session_binding from auth.oauth_states order by id',
  )

async function expectBurned(cause: string): Promise<void> {
  const rows = await world.sql(
    `select id, status, reason, code is null and verifier is null and nonce is null and data_key is null as wiped
       from auth.oauth_states`,
  )
  expect(rows).toEqual([{ id: expect.any(String), status: 'rejected', reason: cause, wiped: true }])
  const audited = await world.sql(
    `select action, detail->>'cause' as cause from auth.audit where subject = $1`,
    [rows[0]?.id],
  )
  expect(audited).toEqual([{ action: 'oauth.session_mismatch', cause }])
  expect(await world.tokenRequests()).toBe(0)
}

async function expectNothingConnected(...people: Person[]): Promise<void> {
  expect(await world.sql('select id from auth.oauth_tokens')).toEqual([])
  for (const { page, complaints } of people) {
    await page.goto(`${world.console}/connections`)
    await page.getByRole('heading', { name: 'No account is connected yet' }).waitFor()
    expect(complaints).toEqual([])
  }
}

type CallbackRequest =
  | { method: 'GET'; url: string }
  | { method: 'POST'; url: string; contentType: string; body: string }

const grant = (authUrl: string, google: string, microsoft: string) =>
  world.control<CallbackRequest>('/authorize', {
    authUrl,
    account: authUrl.startsWith(String(world.stack.urls.google)) ? google : microsoft,
  })

/** Where our callback sends the browser, followed by nobody. */
async function callbackLocation(authUrl: string, google: string, microsoft: string): Promise<string> {
  const callback = await grant(authUrl, google, microsoft)
  const response = await fetch(callback.url, {
    method: callback.method,
    ...(callback.method === 'POST' && {
      headers: { 'content-type': callback.contentType },
      body: callback.body,
    }),
    redirect: 'manual',
  })
  expect(response.status).toBe(303)
  return response.headers.get('location') ?? ''
}

/** As a hostile page does: a navigation, or a form that sends itself. */
async function forceCallback(page: Page, authUrl: string): Promise<void> {
  const callback = await grant(authUrl, 'gita@flow.test', 'adele@contoso.test')
  if (callback.method === 'GET') {
    await page.goto(callback.url)
    return
  }
  const fields = [...new URLSearchParams(callback.body)].map(
    ([name, value]) => `<input type="hidden" name="${name}" value="${value}">`,
  )
  await page.goto('about:blank')
  await page.setContent(`<form method="post" action="${callback.url}">${fields.join('')}</form>`)
  await page.evaluate('document.forms[0].submit()')
}
