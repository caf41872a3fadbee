/**
 * The control API: what a test or the demo does to the simulated world. Its own port, a bearer token on every
 * request. It tells secrets (issued ones, callbacks) only to the holder of that token.
 */
import type { FastifyInstance } from 'fastify'
import type { SimulatedClock } from '../clock.ts'
import { sameText } from '../codes.ts'
import { readFaults } from '../fault-reading.ts'
import type { GoogleProvider } from '../google/google.ts'
import type { Issuer } from '../issued.ts'
import { type Call, clearJournal, peakPerSecond } from '../journal.ts'
import type { MicrosoftProvider } from '../microsoft/microsoft.ts'
import type { Provider } from '../provider.ts'
import { bearerOf, createServer, jsonBody } from '../server.ts'
import { servePeople } from './people.ts'
import { servePushes } from './pushes.ts'
import { refuse } from './request.ts'

export interface ControlParts {
  token: string
  microsoft: MicrosoftProvider | null
  google: GoogleProvider | null
  issuer: Issuer
  clock: SimulatedClock
  log(line: string): void
}

const longestShiftMs = 3_650 * 86_400_000

export function createControl(parts: ControlParts): FastifyInstance {
  const server = createServer({ name: 'control', log: parts.log, journal: null, faults: null })
  const providers: Provider[] = [parts.microsoft, parts.google].filter((provider) => provider !== null)

  server.addHook('onRequest', async (request, reply) => {
    if (reply.sent) return
    const sent = bearerOf(request)
    if (sent === null || !sameText(sent, parts.token)) {
      await reply.code(401).header('www-authenticate', 'Bearer').send({ error: 'unauthorized' })
    }
  })

  server.get('/state', async () =>
    Object.fromEntries(providers.map((provider) => [provider.name, stateOf(provider)])),
  )

  server.get('/issued', async () => ({ issued: parts.issuer.list() }))

  server.get<{ Params: { account: string } }>('/mailbox/:account', async (request, reply) => {
    const { account } = request.params
    const provider = providers.find((candidate) => candidate.hasAccount(account))
    if (provider === undefined) return reply.code(404).send({ error: 'no such account' })
    return reply.send({ provider: provider.name, account, ...Object(provider.mailbox(account)) })
  })

  server.get('/failure-rows', async () =>
    Object.fromEntries(providers.map((provider) => [provider.name, provider.failureRows])),
  )

  server.get<{ Params: { provider: string } }>('/token-requests/:provider', async (request, reply) => {
    const provider = providers.find((candidate) => candidate.name === request.params.provider)
    if (provider === undefined) return reply.code(404).send({ error: 'no such provider' })
    const requests = provider.journal.tokenLog
    return reply.send({ peakPerSecond: peakPerSecond(requests), requests })
  })

  server.get<{ Params: { provider: string } }>('/calls/:provider', async (request, reply) => {
    const provider = providers.find((candidate) => candidate.name === request.params.provider)
    if (provider === undefined) return reply.code(404).send({ error: 'no such provider' })
    const { calls } = provider.journal
    const of = (kinds: readonly Call[]) => ({ peakPerSecond: peakPerSecond(kinds), count: kinds.length })
    return reply.send({
      ...of(calls),
      changes: of(calls.filter(({ kind }) => kind === 'change')),
      reads: of(calls.filter(({ kind }) => kind === 'read')),
      lists: of(calls.filter(({ kind }) => kind === 'list')),
    })
  })

  server.post('/clock', async (request, reply) => {
    const { offsetMs, advanceMs } = jsonBody(request) ?? {}
    const next = typeof advanceMs === 'number' ? parts.clock.offsetMs() + advanceMs : offsetMs
    if (typeof next !== 'number' || !Number.isSafeInteger(next) || Math.abs(next) > longestShiftMs) {
      return refuse(reply, 'offsetMs or advanceMs must be whole milliseconds, ten years at most')
    }
    parts.clock.setOffset(next)
    return reply.send({ offsetMs: next, now: new Date(parts.clock.now()).toISOString() })
  })

  server.post('/faults', async (request, reply) => {
    const { provider: name, rotateKeys, ...switches } = jsonBody(request) ?? {}
    const provider = providers.find((candidate) => candidate.name === name)
    if (provider === undefined) return refuse(reply, 'no such provider')
    if (![undefined, false, true, 'drop'].includes(rotateKeys as boolean))
      return refuse(reply, 'wrong value for rotateKeys')
    const reading = readFaults(switches)
    if (reading.kind === 'refused') return refuse(reply, reading.reason)
    const row = reading.faults.tokenFault?.row
    if (row !== undefined && !provider.failureRows.some((known) => known.row === row))
      return refuse(reply, `no row ${row}: GET /failure-rows lists them`)
    Object.assign(provider.faults, reading.faults)
    if (rotateKeys === true || rotateKeys === 'drop') await provider.rotateKeys(rotateKeys === 'drop')
    return reply.send({ faults: provider.faults })
  })

  server.post('/reset', async (request, reply) => {
    const body = jsonBody(request) ?? {}
    for (const provider of providers) {
      provider.resetFaults()
      clearJournal(provider.journal)
      if (body.redeliveries === true) provider.postman.forget()
    }
    return reply.send({ reset: true })
  })

  server.post('/forget', async (_request, reply) => {
    for (const provider of providers) provider.postman.forget()
    return reply.send({ forgotten: true })
  })

  servePushes(server, parts, providers)
  servePeople(server, providers)
  return server
}

function stateOf(provider: Provider): unknown {
  const { tokenLog: _ownRoute, ...journal } = provider.journal
  return {
    ...journal,
    redeliveriesWaiting: provider.postman.waiting(),
    ...provider.leases(),
    faults: provider.faults,
  }
}
