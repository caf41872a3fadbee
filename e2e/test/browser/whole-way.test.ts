/**
 * The whole way of one person, by mouse: sign in with the link, connect both providers on their consent pages, receive a
 * message from each and see it delivered. Every page on the way is looked at, and what the browser got is searched for
 * secrets at the end.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openKeyRing } from '../../../auth/src/vault/key-ring.ts'
import { openVault } from '../../../auth/src/vault/vault.ts'
import { type Looks, startLooking } from './look.ts'
import { findSecrets, readBrowser } from './search.ts'
import { callBff, consent, type Person, startWorld, type World } from './world.ts'

const EMAIL = 'wendy@example.com'
const JOURNEY = [
  {
    provider: 'microsoft',
    account: 'adele@contoso.test',
    button: /^Connect Microsoft/,
    subject: 'Hello Adele',
  },
  { provider: 'google', account: 'gita@flow.test', button: /^Connect Google/, subject: 'Hello Gita' },
]

let world: World
let wendy: Person
let looks: Looks
/** PKCE verifiers, taken from the database while their flows lived. */
const verifiers: string[] = []

beforeAll(async () => {
  world = await startWorld()
  wendy = await world.person()
  looks = startLooking()
})
afterAll(() => world?.close())

describe('from the link to the delivered event', { timeout: 90_000 }, () => {
  test('without a session every page says how to sign in', async () => {
    const { page } = wendy
    await page.goto(`${world.console}/connections`)
    await page.getByRole('heading', { name: 'Sign in with a link' }).waitFor()
    await looks.at(page, '01-signed-out')
  })

  test('the one-time link asks before it redeems, and signs in', async () => {
    const { page } = wendy
    const link = await world.stack.signinUrl(EMAIL, 'user')
    await page.goto(link)
    await page.getByRole('heading', { name: 'Sign in to Flovify Connect?' }).waitFor()
    expect(page.url()).toBe(`${world.console}/signin`)
    const unused = await world.sql('select used_at from auth.signin_links')
    expect(unused).toEqual([{ used_at: null }])
    await looks.at(page, '02-sign-in')

    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByRole('heading', { name: 'No account is connected yet' }).waitFor()
    await looks.at(page, '03-connections-empty')

    const other = await world.person()
    await other.page.goto(link)
    await other.page.getByRole('button', { name: 'Sign in' }).click()
    await other.page.getByRole('heading', { name: 'This link does not work' }).waitFor()
    expect((await callBff(other.page, 'GET', '/bff/session')).status).toBe(401)
    await looks.at(other.page, '04-link-used')
    expect(other.complaints).toEqual([])
    await other.context.close()
  })

  test('a running session is not replaced by somebody else’s link', async () => {
    const { page } = wendy
    await page.goto(await world.stack.signinUrl('mallory@example.com', 'user'))
    await page.getByRole('heading', { name: 'You are signed in already' }).waitFor()
    await looks.at(page, '05-signed-in-already')
    const used = await world.sql(
      `select used_at from auth.signin_links l join auth.users u on u.id = l.user_id where u.email = 'mallory@example.com'`,
    )
    expect(used).toEqual([{ used_at: null }])
    expect((await callBff(page, 'GET', '/bff/session')).body.email).toBe(EMAIL)
  })

  test('BC-02 the browser holds the session as a __Host- cookie that no script and no other site can use', async () => {
    const cookies = await wendy.context.cookies()
    expect(cookies).toHaveLength(1)
    expect(cookies[0]).toMatchObject({
      name: '__Host-session',
      domain: 'localhost',
      path: '/',
      httpOnly: true,
      secure: true,
      sameSite: 'Strict',
    })
    expect(await wendy.page.evaluate('document.cookie')).toBe('')
  })

  test('the list of events says that there is none yet', async () => {
    await wendy.page.goto(`${world.console}/events`)
    await wendy.page.getByRole('heading', { name: 'No event yet' }).waitFor()
    await looks.at(wendy.page, '06-events-empty')
  })

  test.each(JOURNEY)(
    '$provider is connected on its consent page, and the success page names the account',
    async (step) => {
      const { page } = wendy
      await page.goto(`${world.console}/connections`)
      await page.getByRole('button', { name: step.button }).click()
      await page.getByRole('radio', { name: step.account }).waitFor()
      verifiers.push(await unsealVerifier())
      await looks.at(page, `07-consent-${step.provider}`)
      await consent(page, step.account)
      await page.getByRole('heading', { name: 'Account connected' }).waitFor()
      await page.locator('main').getByText(step.account).waitFor()
      expect(page.url()).toBe(`${world.console}/auth/success?provider=${step.provider}`)
      await looks.at(page, `08-connected-${step.provider}`)
    },
  )

  test('both accounts are listed and receive notifications', async () => {
    const { page } = wendy
    await page.getByRole('link', { name: 'Go to connections' }).click()
    for (const { account } of JOURNEY) {
      const card = page.getByRole('listitem').filter({ has: page.getByRole('heading', { name: account }) })
      await card.getByText('Receiving', { exact: true }).first().waitFor()
    }
    await looks.at(page, '09-connections')
    await page.getByRole('button', { name: 'Disconnect adele@contoso.test' }).click()
    for (const summary of await page.locator('summary').all()) await summary.click()
    await looks.at(page, '10-disconnect-asks')
    await page.getByRole('button', { name: 'Keep' }).click()
  })

  test('a message in each account appears live on the list and is delivered', async () => {
    const { page } = wendy
    await page.getByRole('link', { name: 'Events', exact: true }).click()
    const rows = page.locator('ul.events > li')
    for (const { provider, account, subject } of JOURNEY) {
      const mails = rows.filter({ hasText: 'Change in a mailbox' }).filter({ hasText: account })
      const before = await mails.count()
      await world.control('/message', { provider, account, subject })
      await mails.nth(before).waitFor()
    }
    await page.waitForFunction(
      `[...document.querySelectorAll('ul.events > li')].every((row) => row.textContent.includes('Delivered'))`,
    )
    await looks.at(page, '11-events')
  })

  test('the event’s own page shows deliveries, attempts and the payload as text', async () => {
    const { page } = wendy
    const mail = page
      .getByRole('link', { name: 'Change in a mailbox' })
      .filter({ hasText: 'adele@contoso.test' })
    await mail.first().click()
    await page.getByRole('heading', { name: 'Change in a mailbox' }).waitFor()
    await page.getByText('Attempt 1: delivered').waitFor()
    await page.getByText('HTTP 204').waitFor()
    const id = new URL(page.url()).pathname.split('/').at(-1)
    const payload = (await page.locator('pre.payload').textContent()) ?? ''
    expect(JSON.parse(payload)).toMatchObject({ specversion: '1.0', id })
    await looks.at(page, '12-event')

    const receipts = world.stack.receiver.received().filter(({ webhookId }) => webhookId === id)
    expect(receipts).toEqual([expect.objectContaining({ verified: true, attempt: 1, status: 204 })])
    expect(JSON.parse(receipts[0]?.body ?? '')).toEqual(JSON.parse(payload))
  })

  test('every event of the way was delivered once and verified by the receiver', async () => {
    const stored = await world.sql<{ id: string }>('select id from auth.events')
    const receipts = world.stack.receiver.received()
    expect(receipts.filter(({ verified }) => !verified)).toEqual([])
    expect(receipts.map(({ webhookId }) => webhookId).sort()).toEqual(stored.map(({ id }) => id).sort())
    expect(stored.length).toBeGreaterThanOrEqual(4)
  })

  test('BC-06 pages, files and answers reach the browser with the policy headers', async () => {
    const ours = wendy.responses.filter((response) => response.url().startsWith(world.console))
    const kinds = new Set<string>()
    for (const response of ours) {
      const headers = await response.allHeaders()
      expect(headers, response.url()).toMatchObject({
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
        'cross-origin-opener-policy': 'same-origin',
      })
      const policy = headers['content-security-policy'] ?? ''
      for (const part of [
        "default-src 'none'",
        "object-src 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
      ])
        expect(policy, response.url()).toContain(part)
      expect(policy).not.toMatch(/unsafe|\*|data:|http/)
      const path = new URL(response.url()).pathname
      if (path.startsWith('/bff/')) expect(headers['cache-control'], path).toBe('no-store')
      kinds.add(path.startsWith('/bff/') ? 'api' : path.startsWith('/assets/') ? 'file' : 'page')
    }
    expect([...kinds].sort()).toEqual(['api', 'file', 'page'])
  })

  test('BC-03 nothing that the browser holds or got contains a secret of provider or service', async () => {
    const issued = await world.control<{ issued: { kind: string; value: string }[] }>('/issued')
    const { stack } = world
    const sinks = await readBrowser(wendy, world.console)
    const sealed = await world.sql<{ sealed: string }>(
      `select unnest(array[data_key, access_token, refresh_token]) as sealed from auth.oauth_tokens
       union all select unnest(array[data_key, secret]) from auth.destinations`,
    )
    const bindings = await world.sql<{ binding: string; family: string }>(
      `select translate(encode(session_binding, 'base64'), '+/=', '-_') as binding,
              (select family_id from auth.sessions limit 1) as family from auth.oauth_states`,
    )
    const kinds = issued.issued.map(({ kind }) => kind)
    expect(kinds).toEqual(
      expect.arrayContaining(['access_token', 'refresh_token', 'id_token', 'authorization_code']),
    )
    expect(verifiers).toHaveLength(2)
    const secrets = [
      ...issued.issued.map(({ value }) => value),
      ...verifiers,
      ...sealed.map((row) => row.sealed),
      ...bindings.flatMap(({ binding, family }) => [binding, family]),
      stack.secrets.serviceSecret,
      stack.secrets.encryptionKey,
      stack.secrets.microsoftClientSecret,
      stack.secrets.googleClientSecret,
      stack.secrets.controlToken,
    ].filter((secret) => secret !== null)
    const sources = new Set(sinks.map(({ source }) => source))
    for (const source of [
      'localStorage',
      'sessionStorage',
      'IndexedDB',
      'document',
      'address',
      'answer',
      'bundle',
    ])
      expect(sources, source).toContain(source)
    expect(findSecrets(sinks, secrets)).toEqual([])
    // The search itself sees what is there.
    expect(findSecrets(sinks, [EMAIL]).length).toBeGreaterThan(0)
  })

  test('the page of a refused consent says so', async () => {
    const { page } = wendy
    await page.goto(`${world.console}/connections`)
    await page.getByRole('button', { name: /^Connect Google/ }).click()
    await page.locator('button[value=cancel]').click()
    await page.getByRole('heading', { name: 'Permission was not given' }).waitFor()
    expect(page.url()).toBe(`${world.console}/auth/error?reason=access_denied`)
    await looks.at(page, '13-consent-refused')
  })

  test.each([
    ['14-error-admin', '/auth/error?reason=admin_required', 'Your organisation must approve this first'],
    ['15-error-unknown', '/auth/error?reason=<b>no</b>', 'The account was not connected'],
    ['16-nothing-to-finish', '/auth/success?provider=google', 'Nothing to finish here'],
    ['17-finish-refused', `/auth/success#ticket=${'x'.repeat(43)}`, 'This connection was cancelled'],
    ['18-event-gone', '/events/evt_none', 'This event is not here'],
    ['19-unknown-page', '/events/no-such-page', 'Nothing here'],
  ])('%s', async (name, path, heading) => {
    await wendy.page.goto(`${world.console}${path}`)
    await wendy.page.getByRole('heading', { name: heading }).waitFor()
    await looks.at(wendy.page, name)
  })

  test('the callback’s own page for a state that is not ours is plain and safe', async () => {
    const callback = `${world.stack.urls.webhooks}/webhook/oauth/google/callback?code=x&state=${'y'.repeat(43)}`
    const response = await wendy.page.goto(callback)
    expect(response?.status()).toBe(400)
    await looks.at(wendy.page, '20-callback-refused')
  })

  test('an administrator sees the accounts and events of everybody', async () => {
    const ada = await world.signedIn('ada@example.com', 'admin')
    await ada.page.getByRole('heading', { name: 'adele@contoso.test' }).waitFor()
    await looks.at(ada.page, '21-admin-connections')
    await ada.page.getByRole('link', { name: 'Events', exact: true }).click()
    await ada.page.getByText('Administrator: events of all people').waitFor()
    await looks.at(ada.page, '22-admin-events')
    expect(ada.complaints).toEqual([])
    await ada.context.close()
  })
})

describe('all pages of the way, at 390 and 1280 px, light and dark', () => {
  test('axe-core reports no violation', () => {
    expect(looks.names.length).toBe(24)
    expect(looks.violations).toEqual([])
  })

  test('no page scrolls sideways', () => {
    expect(looks.tooWide).toEqual([])
  })

  test('BC-07 the browser reported no policy violation, no dialog, no uncaught error, no address outside', () => {
    expect(wendy.complaints).toEqual([])
  })
})

/** What the database holds sealed while the person stands at the consent page. */
async function unsealVerifier(): Promise<string> {
  const [flow] = await world.sql<{
    id: string
    owner_id: string
    provider: string
    data_key: string
    verifier: string
  }>(`select id, owner_id, provider, data_key, verifier from auth.oauth_states where status = 'created'`)
  if (flow === undefined) throw new Error('No flow is under way.')
  const key = Buffer.from(world.stack.secrets.encryptionKey, 'base64url')
  const vault = openVault(openKeyRing(new Map([['k0', key]]), 'k0'))
  const context = {
    purpose: 'oauth_states',
    owner: flow.owner_id,
    row: flow.id,
    provider: flow.provider,
  } as const
  return vault.open(flow.data_key, context).unseal('verifier', flow.verifier).reveal()
}
