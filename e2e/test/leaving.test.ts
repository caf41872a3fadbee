import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Browserless } from '../../local/src/browserless.ts'
import { type Stack, startStack } from '../../local/src/stack.ts'
import { askSimulators } from '../src/control.ts'

/** The whole system of real processes and the simulated providers: what really is left at a provider. */
describe('leaving a provider', { timeout: 90_000 }, () => {
  let directory: string
  let stack: Stack
  let alice: Browserless

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'flovify-leaving-'))
    stack = await startStack({ dataDir: join(directory, 'data') })
    alice = new Browserless(stack)
    await alice.signIn(await stack.signinUrl('alice@example.com', 'user'))
  })
  afterAll(async () => {
    await stack?.stop()
    await rm(directory, { recursive: true, force: true })
  })

  const control = (path: string, body?: unknown) => askSimulators(stack, path, body)
  const internal = (method: string, path: string) =>
    fetch(`${stack.urls.internal}${path}`, {
      method,
      headers: { 'x-service-token': stack.secrets.serviceSecret },
    })
  const statusOf = async (id: string) => (await alice.connections()).find((one) => one.id === id)?.status
  const until = async (what: string, holds: () => Promise<boolean>) => {
    for (const end = Date.now() + 45_000; Date.now() < end; await new Promise((r) => setTimeout(r, 100)))
      if (await holds()) return
    throw new Error(`waited in vain: ${what}`)
  }
  const active = async (id: string) =>
    until('subscribed', async () =>
      (await alice.connections()).some(
        ({ id: other, subscriptions }) =>
          other === id && subscriptions.length > 0 && subscriptions.every(({ state }) => state === 'active'),
      ),
    )
  const requests = async (provider: string) =>
    ((await control('/state')) as Record<string, { requests: Record<string, number> }>)[provider]?.requests ??
    {}
  const countOf = async (provider: string, part: string) =>
    Object.entries(await requests(provider)).reduce(
      (sum, [route, n]) => sum + (route.includes(part) ? n : 0),
      0,
    )

  test('OA-13 Google: while it is down the connection is over here at once; when it is back, watch and grant end', async () => {
    const { id } = await alice.connect('google', 'gita@flow.test')
    await active(id)
    await control('/faults', { provider: 'google', down: '503' })
    const answer = await alice.disconnect(id)
    expect(answer).toEqual({
      status: 'revoking',
      at_provider: { kind: 'revoked_by_us', url: 'https://myaccount.google.com/connections' },
    })
    expect((await internal('POST', `/internal/connections/${id}/token`)).status).toBe(409)
    expect(await statusOf(id)).toBe('revoking')
    await control('/faults', { provider: 'google', down: false })
    await until('revoked', async () => (await statusOf(id)) === 'revoked')
    const { google } = (await control('/state')) as {
      google: { watches: unknown[]; channels: unknown[] }
    }
    expect([...google.watches, ...google.channels]).toEqual([])
    expect(await countOf('google', '/stop')).toBeGreaterThanOrEqual(1)
    expect(await countOf('google', '/revoke')).toBeGreaterThanOrEqual(1)
  })

  test('OA-13 Microsoft: over here at once while Graph is down; back, its subscriptions end, and the person is told where to withdraw the consent', async () => {
    const { id } = await alice.connect('microsoft', 'adele@contoso.test')
    await active(id)
    const atGraph = async () =>
      ((await control('/state')) as { microsoft: { subscriptions: unknown[] } }).microsoft.subscriptions
    await control('/faults', { provider: 'microsoft', down: '503' })
    expect(await alice.disconnect(id)).toEqual({
      status: 'revoking',
      at_provider: { kind: 'withdraw_yourself', url: 'https://myapps.microsoft.com/' },
    })
    expect((await internal('POST', `/internal/connections/${id}/token`)).status).toBe(409)
    expect((await atGraph()).length).toBeGreaterThan(0)
    await control('/faults', { provider: 'microsoft', down: false })
    await until('revoked', async () => (await statusOf(id)) === 'revoked')
    expect(await atGraph()).toEqual([])
  })

  test('WI-01 Google’s security events: forged ones change nothing, a genuine one ends the connection it names', async () => {
    const { id } = await alice.connect('google', 'gita@flow.test')
    await active(id)
    const say = async (more: object) =>
      control('/security-event', {
        provider: 'google',
        account: 'gita@flow.test',
        event: 'tokens-revoked',
        ...more,
      })
    for (const forge of ['audience', 'issuer', 'key', 'kid', 'algNone', 'HS256']) await say({ forge })
    await say({ event: 'verification', state: 'hello' })
    expect(await statusOf(id)).toBe('active')
    await say({ issuer: 'slash', subject: 'id_token_claims', repeat: 2 })
    await until('ended', async () => (await statusOf(id)) === 'revoked')
    await control('/forget', {})
  })

  test('OP-08 a user is erased by one call: a receipt at once, its progress when asked again, nothing left', async () => {
    const { id, user_id } = await alice.connect('google', 'gita@flow.test')
    await active(id)
    const first = await internal('DELETE', `/internal/users/${user_id}`)
    expect(first.status).toBe(200)
    const receipt = (await first.json()) as { receipt: string; finished_at: string | null }
    await until('erased', async () => {
      const again = (await (await internal('DELETE', `/internal/users/${user_id}`)).json()) as typeof receipt
      expect(again.receipt).toBe(receipt.receipt)
      return again.finished_at !== null
    })
    // the session went at once: nobody is signed in any more
    await expect(alice.connections()).rejects.toThrow('401')
    expect((await internal('DELETE', '/internal/users/987654')).status).toBe(404)
  })
})
