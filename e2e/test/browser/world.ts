/**
 * The whole system with a browser in front of it: one stack, one Chromium, and people with browser profiles of their
 * own. What a browser must never report (a policy violated, a dialog, an uncaught error, an address outside this
 * machine) is noted for every person.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import type { Browser, BrowserContext, Page, Response } from 'playwright-core'
import { expect } from 'vitest'
import { type Stack, startStack } from '../../../local/src/stack.ts'
import { startBrowser } from '../../src/browser.ts'
import { askSimulators } from '../../src/control.ts'

export interface World {
  readonly stack: Stack
  readonly browser: Browser
  readonly console: string
  /** Somebody with an empty browser profile. */
  person(): Promise<Person>
  signedIn(email: string, role?: 'user' | 'admin'): Promise<Person>
  sql<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>
  control<T>(path: string, body?: unknown): Promise<T>
  /** Token requests of all grants at both providers. */
  tokenRequests(): Promise<number>
  close(): Promise<void>
}

export interface Person {
  readonly context: BrowserContext
  readonly page: Page
  /** What a browser must never report. */
  readonly complaints: string[]
  readonly responses: Response[]
}

/** @param more variables on top of those that a start from a shell would have */
export async function startWorld(more: Readonly<Record<string, string>> = {}): Promise<World> {
  const dataDir = await mkdtemp(join(tmpdir(), 'flovify-browser-'))
  const closing: (() => Promise<unknown>)[] = [() => rm(dataDir, { recursive: true, force: true })]
  const close = async () => {
    for (const step of closing.reverse()) await step()
  }
  try {
    const { PATH, HOME, TMPDIR, LANG, TZ } = process.env
    const stack = await startStack({ dataDir, environment: { PATH, HOME, TMPDIR, LANG, TZ, ...more } })
    closing.push(() => stack.stop())
    const pool = new pg.Pool({ connectionString: stack.database.url, max: 2 })
    // PostgreSQL may end before its idle connections do
    pool.on('error', () => undefined)
    closing.push(() => pool.end())
    const browser = await startBrowser()
    closing.push(() => browser.close())
    return makeWorld(stack, browser, pool, close)
  } catch (error) {
    await close()
    throw error
  }
}

function makeWorld(stack: Stack, browser: Browser, pool: pg.Pool, close: () => Promise<void>): World {
  const control = <T>(path: string, body?: unknown) => askSimulators<T>(stack, path, body)
  const person = () => newPerson(browser)
  return {
    stack,
    browser,
    console: stack.urls.console,
    person,
    async signedIn(email, role = 'user') {
      const one = await person()
      await one.page.goto(await stack.signinUrl(email, role))
      await one.page.getByRole('button', { name: 'Sign in' }).click()
      await one.page.getByRole('heading', { name: 'Connections', exact: true }).waitFor()
      return one
    },
    sql: async (text, values) => (await pool.query(text, values)).rows,
    control,
    async tokenRequests() {
      type State = Record<string, { tokenRequests: Record<string, number> }>
      const counts = Object.values(await control<State>('/state')).flatMap(({ tokenRequests }) =>
        Object.values(tokenRequests),
      )
      return counts.reduce((sum, count) => sum + count, 0)
    },
    close,
  }
}

async function newPerson(browser: Browser): Promise<Person> {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 800 },
    locale: 'en-GB',
    timezoneId: 'UTC',
    reducedMotion: 'reduce',
  })
  context.setDefaultTimeout(15_000)
  const complaints: string[] = []
  const responses: Response[] = []
  await context.exposeBinding('noteViolation', (_source, text: string) => complaints.push(text))
  await context.addInitScript(`addEventListener('securitypolicyviolation', (event) =>
    noteViolation('policy: ' + event.violatedDirective + ' ' + event.blockedURI + ' at ' + event.documentURI))`)
  context.on('dialog', (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`)
    void dialog.dismiss()
  })
  context.on('weberror', (error) => complaints.push(`uncaught: ${error.error().message}`))
  context.on('console', (message) => {
    // Refusals that a page expects, such as 401 before signing in, are logged by the browser itself.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
      complaints.push(`console: ${message.text()}`)
  })
  context.on('request', (request) => {
    const { protocol, hostname } = new URL(request.url())
    if (protocol.startsWith('http') && hostname !== 'localhost' && hostname !== '127.0.0.1')
      complaints.push(`left this machine: ${request.url()}`)
  })
  context.on('response', (response) => responses.push(response))
  return { context, page: await context.newPage(), complaints, responses }
}

/** A call as the console's own page makes it. */
export async function callBff(
  page: Page,
  method: string,
  path: string,
  body?: unknown,
): Promise<{ status: number; body: Record<string, unknown> }> {
  const init = {
    method,
    headers: {
      'x-requested-with': 'flovify-console',
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  }
  return page.evaluate(
    `fetch(${JSON.stringify(path)}, ${JSON.stringify(init)}).then(async (response) =>
      ({ status: response.status, body: await response.json().catch(() => ({})) }))`,
  )
}

/** Begins to connect without going there: the address of the provider, as the console's button would open it. */
export async function beginFlow(page: Page, provider: string): Promise<string> {
  const begun = await callBff(page, 'POST', `/bff/auth/connect/${provider}`, {})
  expect(begun.status).toBe(200)
  return String(begun.body.authUrl)
}

/** On the provider's consent page: this account, and yes. */
export async function consent(page: Page, account: string): Promise<void> {
  await page.getByRole('radio', { name: account }).check()
  await page.locator('button[value=accept]').click()
}
