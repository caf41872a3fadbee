/**
 * Two people with the same mailbox of Google: its one watch belongs to the account and the project, each push is an event of
 * both, and the watch ends only with the last of them. Through the whole system of real processes.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Browserless } from '../../local/src/browserless.ts'
import { type Stack, startStack } from '../../local/src/stack.ts'
import { askSimulators } from '../src/control.ts'
import { waitFor } from '../src/moved-stack.ts'

const ACCOUNT = 'gita@flow.test'
let directory: string
let stack: Stack
const alice = () => people[0] as Browserless
const bob = () => people[1] as Browserless
const people: Browserless[] = []

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'flovify-shared-'))
  stack = await startStack({ dataDir: join(directory, 'data'), environment: { GOOGLE_WATCH: 'mail' } })
  for (const email of ['alice@example.com', 'bob@example.com']) {
    const one = new Browserless(stack)
    await one.signIn(await stack.signinUrl(email, 'user'))
    people.push(one)
  }
})
afterAll(async () => {
  await stack?.stop()
  await rm(directory, { recursive: true, force: true })
})

const control = (path: string, body?: unknown) => askSimulators(stack, path, body)
const watches = async () => ((await control('/state')) as { google: { watches: unknown[] } }).google.watches
const isWatched = (one: Browserless) => async () => {
  const [connection] = await one.connections()
  return connection?.subscriptions.map(({ state }) => state).join() ?? ''
}
const mailsOf = (one: Browserless) => async () =>
  (await one.events()).filter(({ type }) => type.endsWith('mail.mailbox.v1.notified')).length
const send = () => control('/message', { provider: 'google', account: ACCOUNT, subject: 'Hello' })

test('OA-13 WI-16 both are told of each message; the watch lives on until the last of them leaves', async () => {
  const hers = await alice().connect('google', ACCOUNT)
  await waitFor('hers is live', isWatched(alice()), (state) => state === 'active')
  const his = await bob().connect('google', ACCOUNT)
  await waitFor('his is live', isWatched(bob()), (state) => state === 'active')
  expect(await watches()).toHaveLength(1)

  const before = [await mailsOf(alice())(), await mailsOf(bob())()]
  await send()
  for (const [n, one] of people.entries())
    await waitFor('each is told', mailsOf(one), (count) => count > (before[n] ?? 0))

  await alice().disconnect(hers.id)
  await waitFor(
    'she has left',
    async () => (await alice().connections())[0]?.status,
    (status) => status === 'revoked' || status === undefined,
  )
  expect(await watches()).toHaveLength(1)
  const told = [await mailsOf(alice())(), await mailsOf(bob())()]
  await send()
  await waitFor('he is told on', mailsOf(bob()), (count) => count > (told[1] ?? 0))
  expect(await mailsOf(alice())()).toBe(told[0])

  await bob().disconnect(his.id)
  await waitFor('the watch is over', watches, (all) => all.length === 0)
}, 90_000)
