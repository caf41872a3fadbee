/**
 * `npm run demo`: the whole story without a browser, on free ports and throw-away data. One person signs in, connects
 * a simulated Microsoft and a simulated Google account, a message arrives in each, and the receiver gets it signed.
 * Ends with 0 only if the receiver verified every delivery. Its `main` is called by launch.cjs.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { EventView } from '@flovify/client'
import { Browserless } from './browserless.ts'
import type { SimulatedProvider } from './settings.ts'
import { type Stack, startStack } from './stack.ts'
import { StartError } from './start-error.ts'
import { type Story, timeline } from './timeline.ts'

const PATIENCE_MS = 60_000

const CAST: Readonly<Record<SimulatedProvider, { label: string; account: string }>> = {
  microsoft: { label: 'Microsoft 365', account: 'adele@contoso.test' },
  google: { label: 'Google Workspace', account: 'gita@flow.test' },
}

export async function main(): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), 'flovify-demo-'))
  const stop = Promise.withResolvers<never>()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => stop.reject(new StartError('demo_incomplete', 'Stopped before the end.')))
  stop.promise.catch(() => undefined)

  let stack: Stack | undefined
  try {
    const { PATH, HOME, TMPDIR, LANG, TZ } = process.env
    stack = await startStack({
      dataDir,
      environment: { PATH, HOME, TMPDIR, LANG, TZ },
      onProgress: (line) => console.log(line),
    })
    const died = stack.failed.then((failure) => Promise.reject(failure))
    died.catch(() => undefined)
    await Promise.race([play(stack, (text) => console.log(text)), died, stop.promise])
  } catch (error) {
    process.exitCode = 1
    if (error instanceof StartError) console.error(`\n${error.message}`)
    else console.error('\nThis is a defect of Flovify Connect, please report it:', error)
  } finally {
    await stack?.stop()
    await rm(dataDir, { recursive: true, force: true })
  }
  process.exit(process.exitCode ?? 0)
}

/** The story itself. @throws StartError `demo_incomplete` with what was missing */
export async function play(stack: Stack, print: (text: string) => void): Promise<void> {
  const wait = waitUntil(Date.now() + PATIENCE_MS)
  const person = new Browserless(stack)
  await person.signIn(await stack.signinUrl('demo@example.com', 'admin'))
  print('Signed in with the one-time link')

  const connected: Pick<Story, 'provider' | 'label' | 'account' | 'connectedMs' | 'subscribedMs'>[] = []
  for (const provider of stack.simulated) {
    const { label, account } = CAST[provider]
    const began = Date.now()
    const { id } = await person.connect(provider, account)
    const connectedMs = Date.now() - began
    await wait(`${label} did not confirm a subscription`, async () => {
      const connection = (await person.connections()).find((one) => one.id === id)
      const states = connection?.subscriptions.map(({ state }) => state) ?? []
      return states.length > 0 && states.every((state) => state === 'active') ? true : undefined
    })
    connected.push({ provider, label, account, connectedMs, subscribedMs: Date.now() - began })
  }

  for (const one of connected) {
    const sentAt = Date.now()
    await person.sendMessage(one.provider, one.account, 'Hello from the demo')
    const event = await wait(`no push of ${one.label} was stored`, async () =>
      (await person.events()).find((found) => isMailAfter(found, one.provider, sentAt)),
    )
    const delivered = await wait(`the event of ${one.label} was not delivered`, async () =>
      (await person.events()).find((found) => found.id === event.id && isDelivered(found)),
    )
    const receipt = await wait(`the receiver did not verify the delivery of ${one.label}`, async () =>
      stack.receiver.received().find((found) => found.webhookId === event.id && found.verified),
    )
    print(timeline({ ...one, sentAt, event: delivered, receipt }))
  }

  // One list for both questions: another event may come between two askings, and it need not have been received.
  const events = await wait('not every event of the demo was delivered', async () => {
    const found = await person.events()
    return found.every(isDelivered) ? found : undefined
  })
  const receipts = stack.receiver.received()
  const refused = receipts.filter((receipt) => !receipt.verified)
  const ids = new Set(receipts.map(({ webhookId }) => webhookId))
  const missing = events.filter((event) => !ids.has(event.id))
  if (refused.length > 0 || missing.length > 0)
    throw new StartError(
      'demo_incomplete',
      `The receiver refused ${refused.length} of ${receipts.length} deliveries and missed ${missing.length} events.`,
    )
  print(`\nThe receiver verified every delivery: ${receipts.length} of ${receipts.length}.`)
}

function isMailAfter(event: EventView, provider: string, sentAt: number): boolean {
  const isMail = event.type.includes('.mail.') && event.provider === provider
  return isMail && Date.parse(event.received_at) >= sentAt
}

function isDelivered({ deliveries }: EventView): boolean {
  return deliveries.length > 0 && deliveries.every(({ state }) => state === 'delivered')
}

/** Asks again until there is an answer; after the end it says what was missing. */
function waitUntil(end: number) {
  return async <T>(missing: string, ask: () => Promise<T | undefined>): Promise<T> => {
    for (;;) {
      const answer = await ask()
      if (answer !== undefined) return answer
      if (Date.now() > end)
        throw new StartError('demo_incomplete', `After ${PATIENCE_MS / 1000} s ${missing}.`)
      await sleep(20)
    }
  }
}
