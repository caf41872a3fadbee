import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { Browserless } from '../../local/src/browserless.ts'
import { type Stack, startStack } from '../../local/src/stack.ts'
import { askSimulators } from '../src/control.ts'

const DRIVE = 'https://www.googleapis.com/auth/drive'
const GMAIL = 'https://www.googleapis.com/auth/gmail.readonly'
const SEND = 'https://www.googleapis.com/auth/gmail.send'
const CALENDAR = 'https://www.googleapis.com/auth/calendar'

/** The whole system of real processes against the simulated providers. */
describe('accounts and what they grant', () => {
  let directory: string
  let stack: Stack
  let alice: Browserless
  let bob: Browserless

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'flovify-accounts-'))
    stack = await startStack({ dataDir: join(directory, 'data') })
    alice = new Browserless(stack)
    bob = new Browserless(stack)
    await alice.signIn(await stack.signinUrl('alice@example.com', 'user'))
    await bob.signIn(await stack.signinUrl('bob@example.com', 'user'))
  })
  beforeEach(() => control('/reset', {}))
  afterAll(async () => {
    await stack?.stop()
    await rm(directory, { recursive: true, force: true })
  })

  const control = (path: string, body?: unknown) => askSimulators(stack, path, body)
  const internal = (path: string, body?: object) =>
    fetch(`${stack.urls.internal}${path}`, {
      method: 'POST',
      headers: {
        'x-service-token': stack.secrets.serviceSecret,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
  const find = async (id: string) => (await alice.connections()).find((one) => one.id === id)
  const types = async () => (await alice.events()).map((event) => event.type.replace('ca.flovify.', ''))
  const tokenRequests = async (provider: string) =>
    (
      (await control(`/token-requests/${provider}`)) as {
        requests: { grant: string; status: number | null }[]
      }
    ).requests

  test.each([
    ['google', 'gita@flow.test', 'hugo@flow.test'],
    ['microsoft', 'adele@contoso.test', 'bruno@contoso.test'],
  ])(
    'OA-10 %s: a reconnect that comes back as another account is refused, and the old tokens work on',
    async (provider, account, other) => {
      const { id } = await alice.connect(provider, account)
      const before = (await (await internal(`/internal/connections/${id}/token`)).json()) as {
        access_token: string
      }
      await expect(alice.connect(provider, other, { connectionId: id })).rejects.toThrow('account_mismatch')
      expect((await alice.connections()).filter((one) => one.account_label === other)).toEqual([])
      const after = (await (await internal(`/internal/connections/${id}/token`)).json()) as {
        access_token: string
      }
      expect(after.access_token).toBe(before.access_token)
      expect((await alice.connect(provider, account, { connectionId: id })).id).toBe(id)
      // another person's connection is nobody's
      await expect(bob.begin(provider, { connectionId: id })).rejects.toThrow('404')
    },
  )

  test('OA-10 a grant given by mistake is taken back, unless somebody lives on it', async () => {
    const { id } = await alice.connect('google', 'gita@flow.test')
    const his = await bob.connect('google', 'hugo@flow.test')
    await expect(alice.connect('google', 'hugo@flow.test', { connectionId: id })).rejects.toThrow(
      'account_mismatch',
    )
    const { google } = (await control('/state')) as { google: { requests: Record<string, number> } }
    expect(Object.keys(google.requests).filter((route) => route.includes('revoke'))).toEqual([])
    expect((await internal(`/internal/connections/${his.id}/token`)).status).toBe(200)
    await bob.disconnect(his.id)
  })

  test('a second account is a second connection; the same account of two people is two, with one grant', async () => {
    const mine = await alice.connect('microsoft', 'adele@contoso.test')
    const second = await alice.connect('microsoft', 'carla@fabrikam.test')
    const his = await bob.connect('microsoft', 'adele@contoso.test')
    expect(new Set([mine.id, second.id, his.id]).size).toBe(3)
    expect((await alice.connect('microsoft', 'adele@contoso.test')).id).toBe(mine.id)
  })

  test('OA-11 what was not granted is named, and nothing that needs it is subscribed; asked for later, all of it works', async () => {
    const { id, status, scopes_missing } = await alice.connect('google', 'gita@flow.test', {
      granted: [DRIVE, CALENDAR],
    })
    expect({ status, scopes_missing }).toEqual({ status: 'partial', scopes_missing: [GMAIL] })
    const living = (await find(id))?.subscriptions.filter((one) => one.state !== 'stopped') ?? []
    expect(living.map(({ kind }) => kind)).not.toContain('mail')
    expect(living.map(({ kind }) => kind)).toEqual(expect.arrayContaining(['calendar', 'drive']))
    const more = await alice.connect('google', 'gita@flow.test', { connectionId: id, scopes: [SEND] })
    expect(more).toMatchObject({ id, status: 'active', scopes_missing: [] })
    expect(more.scopes_granted).toEqual(expect.arrayContaining([GMAIL, DRIVE, CALENDAR, SEND]))
    expect(
      (await find(id))?.subscriptions.map(({ kind, state }) => [kind, state === 'stopped']),
    ).toContainEqual(['mail', false])
    expect(await types()).toContain('connection.v1.scopes_changed')
    await expect(
      alice.begin('google', { connectionId: id, scopes: ['https://evil.example/scope'] }),
    ).rejects.toThrow('400')
  })

  test('where an administrator must agree: the person gets a link, it works once, and links no account', async () => {
    await control('/faults', { provider: 'microsoft', requireAdmin: { at: 'callback' } })
    const returned = await alice.callBack(await alice.begin('microsoft'), 'bruno@contoso.test')
    expect(returned.headers.get('location')).toContain('/auth/error?reason=admin_required')
    const link = await alice.linkForAdmin('microsoft')
    expect(new URL(link).pathname).toBe('/organizations/v2.0/adminconsent')
    const before = (await alice.connections()).length
    const answered = await alice.callBack(link, 'admin@contoso.test')
    expect(answered.status).toBe(200)
    expect((await alice.connections()).length).toBe(before)
    // what came back once is used up
    await expect(alice.callBack(link, 'admin@contoso.test')).resolves.toMatchObject({ status: 400 })
    expect((await alice.connect('microsoft', 'bruno@contoso.test')).status).toBe('active')
    await expect(alice.linkForAdmin('google')).rejects.toThrow('409')
  })

  test('OA-14 killed between redeeming the code and storing the tokens: no half connection, never redeemed again, "connect again"', async () => {
    const ticket = await alice.consent(await alice.begin('google'), 'hugo@flow.test')
    const redeemed = (await tokenRequests('google')).length
    const connections = (await alice.connections()).length
    await control('/faults', { provider: 'google', tokenDelayMs: 3_000 })
    const finishing = alice.finish(ticket).then(
      () => 'finished',
      () => 'cut',
    )
    await new Promise((resolve) => setTimeout(resolve, 500))
    await stack.auth.kill('SIGKILL')
    expect(await finishing).toBe('cut')
    await stack.auth.restart()
    await control('/faults', { provider: 'google', tokenDelayMs: 0 })
    await expect(alice.finish(ticket)).rejects.toThrow('failed_unknown')
    expect((await alice.connections()).length).toBe(connections)
    expect((await tokenRequests('google')).length).toBe(redeemed + 1)
    expect((await alice.connect('google', 'hugo@flow.test')).status).toBe('active')
  })
})
