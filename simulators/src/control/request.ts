/**
 * Reading what the control API is asked and refusing what it can not mean, the same on all its routes. It does
 * nothing to the simulated world.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Provider, PushOutcome } from '../provider.ts'
import { jsonBody } from '../server.ts'

export interface Target {
  provider: Provider
  account: string
  body: Record<string, unknown>
}

/** Provider and account of a body, or `null` after the refusal has been sent. */
export function readTarget(
  providers: readonly Provider[],
  request: FastifyRequest,
  reply: FastifyReply,
): Target | null {
  const body = jsonBody(request) ?? {}
  const provider = providers.find((candidate) => candidate.name === body.provider)
  const { account } = body
  if (provider !== undefined && typeof account === 'string' && provider.hasAccount(account)) {
    return { provider, account: account.toLowerCase(), body }
  }
  refuse(reply, provider === undefined ? 'no such provider' : 'no such account')
  return null
}

export function sendOutcome(reply: FastifyReply, outcome: PushOutcome): FastifyReply {
  return outcome.kind === 'refused' ? refuse(reply, outcome.reason) : reply.send(outcome)
}

export function refuse(reply: FastifyReply, reason: string): FastifyReply {
  return reply.code(400).send({ error: reason })
}

export function isCount(value: unknown, least: number, most: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most
}

/** A text goes out as it is, so that broken JSON can be sent too. */
export function asText(body: unknown): string {
  return typeof body === 'string' ? body : JSON.stringify(body ?? null)
}
