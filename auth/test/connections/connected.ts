/** An account at Google that is connected through the flow itself, for tests of what follows from it. */
import { completeFlow } from '../../src/connections/complete.ts'
import { bindingOf, type Ground, granted } from './ground.ts'

const DAY_MS = 24 * 3600_000

/** Alice, with an access token that outlives whatever a test does to the clock. @throws unless she is connected */
export async function connectAlice(g: Ground): Promise<{ userId: string; connectionId: string }> {
  const userId = await g.user('alice@example.com')
  const { ticket } = await g.ticketFor(userId)
  g.google.exchangeWith = async () => granted({ expiresAt: new Date(Date.now() + 365 * DAY_MS) })
  const sessionBinding = bindingOf(`session of ${userId}`)
  const outcome = await completeFlow(g.needs, { ticket, userId, sessionBinding })
  if (outcome.kind !== 'connected') throw new Error(outcome.kind)
  return { userId, connectionId: outcome.connectionId }
}
