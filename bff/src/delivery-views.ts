/**
 * What the screens of deliveries, dead letters and a destination's health show. Forwards the person's session token and
 * returns what Auth returns: that these are for administrators is decided there. Keeps and adds nothing.
 */
import type { DeadRetryRequest, DeliveryQuery } from '@flovify/client'
import type { Deps } from './deps.ts'
import type { Input, Reply } from './route.ts'
import { withSession } from './views.ts'

type WithId = Input<{ id: string }>

/** As it comes: every value is text. */
export type DeliveryListQuery = Omit<DeliveryQuery, 'limit'> & { limit?: string }

export const deliveries = (deps: Deps, input: Input<unknown, DeliveryListQuery>): Promise<Reply> =>
  withSession(input, async (session) => {
    const { limit, ...rest } = input.query
    const query: DeliveryQuery = { ...rest, ...(limit !== undefined && { limit: Number(limit) }) }
    return { status: 200, body: await deps.auth.deliveries(session, query) }
  })

export const delivery = (deps: Deps, input: WithId): Promise<Reply> =>
  withSession(input, async (session) => ({
    status: 200,
    body: await deps.auth.delivery(session, input.params.id),
  }))

export const retryDelivery = (deps: Deps, input: WithId): Promise<Reply> =>
  withSession(input, async (session) => ({
    status: 200,
    body: await deps.auth.retryDelivery(session, input.params.id),
  }))

export const destinationHealth = (deps: Deps, input: WithId): Promise<Reply> =>
  withSession(input, async (session) => ({
    status: 200,
    body: await deps.auth.destinationHealth(session, input.params.id),
  }))

export const countDead = (deps: Deps, input: WithId): Promise<Reply> =>
  withSession(input, async (session) => ({
    status: 200,
    body: await deps.auth.countDead(session, input.params.id),
  }))

export const retryDead = (
  deps: Deps,
  input: Input<{ id: string }, unknown, DeadRetryRequest>,
): Promise<Reply> =>
  withSession(input, async (session) => ({
    status: 202,
    body: await deps.auth.retryDead(session, input.params.id, input.body),
  }))
