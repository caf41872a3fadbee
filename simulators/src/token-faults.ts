/**
 * What both token endpoints do before and after their own work: count, wait, cut the connection, answer with a
 * fixed body or with a row of the provider's failure table. It judges no grant.
 */
import { createHash } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { type Faults, takeAnswer, takeRow, takeTurn } from './faults.ts'
import { countUp, type Journal, noteTokenRequest } from './journal.ts'
import { dropConnection } from './server.ts'

export interface RowAnswer {
  status: number
  body: unknown
  headers: Record<string, string>
}

export interface TokenWorld {
  faults: Faults
  journal: Journal
}

type Get = (name: string) => string | undefined

/**
 * @param rowAnswer the provider's answer for a row of its failure table
 * @returns `true` when the request has had its answer, or will have none
 */
export async function interceptToken(
  world: TokenWorld,
  request: FastifyRequest,
  reply: FastifyReply,
  get: Get,
  rowAnswer: (row: string) => RowAnswer,
): Promise<boolean> {
  const sent = get('grant_type') ?? 'none'
  const grant = sent === 'authorization_code' || sent === 'refresh_token' ? sent : 'other'
  countUp(world.journal.tokenRequests, grant)
  const credential = get('refresh_token') ?? get('code')
  const entry = {
    atMs: Date.now(),
    grant,
    status: null as number | null,
    credential: credential ? createHash('sha256').update(credential).digest('hex').slice(0, 16) : null,
  }
  noteTokenRequest(world.journal, entry)
  reply.raw.once('finish', () => {
    entry.status = reply.raw.statusCode
  })
  if (world.faults.tokenDelayMs > 0) await sleep(world.faults.tokenDelayMs)
  if (takeTurn(world.faults, 'tokenDrop')) {
    dropConnection(request, reply)
    return true
  }
  const fixed = takeAnswer(world.faults, 'tokenError')
  if (fixed !== null) {
    await reply.code(fixed.status).headers(fixed.headers).send(fixed.body)
    return true
  }
  const fault = takeRow(world.faults, grant)
  if (fault === null) return false
  const answer = rowAnswer(fault.row)
  if (fault.retryAfter !== null) reply.header('retry-after', fault.retryAfter)
  await reply.code(answer.status).headers(answer.headers).send(answer.body)
  return true
}

/** Sends what the request has bought, unless the answer is to be lost on its way. */
export function sendOrLose(
  world: TokenWorld,
  name: 'tokenLost' | 'revokeLost',
  request: FastifyRequest,
  reply: FastifyReply,
  body: unknown,
): FastifyReply {
  if (takeTurn(world.faults, name)) {
    dropConnection(request, reply)
    return reply
  }
  return reply.send(body)
}

/** An error page of a proxy in front of the endpoint: no JSON at all. */
export function htmlAnswer(status: number, title: string): RowAnswer {
  return {
    status,
    headers: { 'content-type': 'text/html; charset=utf-8' },
    body: `<!DOCTYPE html><html><head><title>${title}</title></head><body><h1>${title}</h1></body></html>`,
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
