/**
 * The calls that make, prolong and end a lease (a Graph subscription, a watch, a channel), as a test may want to see them:
 * held before they are carried out or before they are answered, or carried out and never answered. The same for every
 * provider; what the call does is the provider's.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Faults } from './faults.ts'
import { takeTurn } from './faults.ts'
import type { Journal } from './journal.ts'
import { dropConnection } from './server.ts'

export const leaseCalls = ['create', 'renew', 'stop'] as const
export type LeaseCall = (typeof leaseCalls)[number]

interface World {
  readonly faults: Faults
  readonly journal: Journal
}

const LOOK_MS = 10

/** @param whatOf null for a request that is none of these calls */
export function watchLeaseCalls(
  server: FastifyInstance,
  world: World,
  whatOf: (request: FastifyRequest) => LeaseCall | null,
): void {
  const held = async (request: FastifyRequest, at: 'before' | 'after') => {
    const what = whatOf(request)
    const isHeld = () => {
      const hold = world.faults.holdLease
      return hold !== null && hold.at === at && (hold.what === what || hold.what === 'any')
    }
    if (what === null || !isHeld()) return
    world.journal.holding += 1
    while (isHeld()) await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
    world.journal.holding -= 1
  }
  server.addHook('preHandler', async (request) => held(request, 'before'))
  server.addHook('onSend', async (request, reply, payload) => {
    await held(request, 'after')
    // a refusal is told: only what took effect may get lost
    if (whatOf(request) === null || reply.statusCode >= 300 || !takeTurn(world.faults, 'leaseLost'))
      return payload
    dropConnection(request, reply)
    return payload
  })
}
