/**
 * The control API: what a test or the demo does to the simulated world. Its own port, a bearer token on every
 * request. It tells secrets (issued ones, callbacks) only to the holder of that token.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { sameText } from '../codes.ts'
import { readFaults } from '../faults.ts'
import type { GoogleProvider } from '../google/google.ts'
import type { Issuer } from '../issued.ts'
import { clearJournal } from '../journal.ts'
import type { MicrosoftProvider } from '../microsoft/microsoft.ts'
import { lifecycleEvents } from '../microsoft/notification.ts'
import { isLoopbackUrl } from '../options.ts'
import type { Provider, PushOutcome } from '../provider.ts'
import { bearerOf, createServer, jsonBody } from '../server.ts'

export interface ControlParts {
  token: string
  microsoft: MicrosoftProvider | null
  google: GoogleProvider | null
  issuer: Issuer
  log(line: string): void
}

type Body = Record<string, unknown>

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

  server.post('/message', async (request, reply) => {
    const target = readTarget(providers, request, reply)
    if (target === null) return reply
    const { provider, account, body } = target
    const subject = typeof body.subject === 'string' ? body.subject : 'A simulated mail'
    return reply.send(await provider.receiveMail(account, subject))
  })

  server.post('/push', async (request, reply) => {
    const target = readTarget(providers, request, reply)
    if (target === null) return reply
    const { provider, account, body } = target
    const repeat = body.repeat ?? 1
    const delayMs = body.delayMs ?? 0
    const forge = body.forge ?? null
    if (!isCount(repeat, 1, 1_000)) return refuse(reply, 'repeat must be 1 to 1000')
    if (!isCount(delayMs, 0, 600_000)) return refuse(reply, 'delayMs must be 0 to 600000')
    if (forge !== null && typeof forge !== 'string') return refuse(reply, 'forge must be a text')
    return sendOutcome(reply, await provider.push({ account, repeat, delayMs, forge }))
  })

  server.post('/lifecycle', async (request, reply) => {
    const target = readTarget(providers, request, reply)
    if (target === null) return reply
    const event = lifecycleEvents.find((name) => name === target.body.event)
    if (event === undefined) return refuse(reply, `event must be of ${lifecycleEvents.join(', ')}`)
    if (target.provider.name !== 'microsoft' || parts.microsoft === null)
      return refuse(reply, 'only at microsoft')
    return sendOutcome(reply, await parts.microsoft.sendLifecycle(target.account, event))
  })

  server.post('/graph-raw', async (request, reply) => {
    const body = jsonBody(request)
    if (parts.microsoft === null) return refuse(reply, 'microsoft is not simulated here')
    if (typeof body?.url !== 'string' || !isLoopbackUrl(body.url))
      return refuse(reply, 'url must be a loopback URL')
    return reply.send(await parts.microsoft.sendRaw(body.url, asText(body.body)))
  })

  server.post('/pubsub-raw', async (request, reply) => {
    const body = jsonBody(request)
    if (parts.google === null || body === null) return refuse(reply, 'google is not simulated here')
    const forge = typeof body.forge === 'string' ? body.forge : null
    return sendOutcome(reply, await parts.google.sendRaw(asText(body.body), forge))
  })

  server.post('/faults', async (request, reply) => {
    const { provider: name, rotateKeys, ...switches } = jsonBody(request) ?? {}
    const provider = providers.find((candidate) => candidate.name === name)
    if (provider === undefined) return refuse(reply, 'no such provider')
    if (![undefined, false, true, 'drop'].includes(rotateKeys as never))
      return refuse(reply, 'wrong value for rotateKeys')
    const reading = readFaults(switches)
    if (reading.kind === 'refused') return refuse(reply, reading.reason)
    Object.assign(provider.faults, reading.faults)
    if (rotateKeys === true || rotateKeys === 'drop') await provider.rotateKeys(rotateKeys === 'drop')
    return reply.send({ faults: provider.faults })
  })

  server.post('/revoke-account', async (request, reply) => {
    const target = readTarget(providers, request, reply)
    if (target === null) return reply
    target.provider.revoke(target.account)
    return reply.send({ revoked: target.account })
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

  server.post('/authorize', async (request, reply) => {
    const body: Body = jsonBody(request) ?? {}
    const { authUrl, account, scopes } = body
    if (typeof authUrl !== 'string' || !URL.canParse(authUrl)) return refuse(reply, 'authUrl must be a URL')
    const url = new URL(authUrl)
    const provider = providers.find((candidate) => candidate.url === url.origin)
    if (provider === undefined) return refuse(reply, 'authUrl is not of a simulated provider')
    if (typeof account !== 'string' || !provider.hasAccount(account)) return refuse(reply, 'no such account')
    const list = Array.isArray(scopes) ? scopes.map(String) : null
    if (provider.faults.down !== false) return reply.code(503).send({ error: 'the provider is down' })
    const answer = provider.authorize(url, { account, scopes: list, deny: body.deny === true })
    if (answer.kind === 'callback') return reply.send(answer.callback)
    return reply
      .code(422)
      .send({ error: 'dead_end', status: answer.status, title: answer.title, detail: answer.detail })
  })

  return server
}

function stateOf(provider: Provider): unknown {
  return {
    ...provider.journal,
    redeliveriesWaiting: provider.postman.waiting(),
    ...provider.leases(),
    faults: provider.faults,
  }
}

interface Target {
  provider: Provider
  account: string
  body: Body
}

/** Provider and account of a body, or `null` after the refusal has been sent. */
function readTarget(
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

function sendOutcome(reply: FastifyReply, outcome: PushOutcome): FastifyReply {
  return outcome.kind === 'refused' ? refuse(reply, outcome.reason) : reply.send(outcome)
}

function refuse(reply: FastifyReply, reason: string): FastifyReply {
  return reply.code(400).send({ error: reason })
}

function isCount(value: unknown, least: number, most: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most
}

/** A text goes out as it is, so that broken JSON can be sent too. */
function asText(body: unknown): string {
  return typeof body === 'string' ? body : JSON.stringify(body ?? null)
}
