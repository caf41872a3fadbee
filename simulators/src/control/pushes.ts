/**
 * The control routes that make a provider notify: a mail arrives, a push is repeated or forged, a lifecycle event
 * is sent, a raw body goes out. They send to loopback only, like everything here.
 */
import type { FastifyInstance } from 'fastify'
import { lifecycleEvents } from '../microsoft/notification.ts'
import { isLoopbackUrl } from '../options.ts'
import type { Provider } from '../provider.ts'
import { jsonBody } from '../server.ts'
import type { ControlParts } from './control.ts'
import { asText, isCount, readTarget, refuse, sendOutcome } from './request.ts'

export function servePushes(
  server: FastifyInstance,
  parts: ControlParts,
  providers: readonly Provider[],
): void {
  server.post('/message', async (request, reply) => {
    const target = readTarget(providers, request, reply)
    if (target === null) return reply
    const { provider, account, body } = target
    const subject = typeof body.subject === 'string' ? body.subject : 'A simulated mail'
    return reply.send(await provider.receiveMail(account, subject))
  })

  server.post('/change', async (request, reply) => {
    const target = readTarget(providers, request, reply)
    if (target === null) return reply
    const { provider, account, body } = target
    const { what, id, name, remove } = body
    if (what !== 'file' && what !== 'event') return refuse(reply, 'what must be file or event')
    const outcome = await provider.change(account, what, {
      id: typeof id === 'string' ? id : undefined,
      name: typeof name === 'string' ? name : undefined,
      remove: remove === true,
    })
    return outcome.kind === 'refused' ? refuse(reply, outcome.reason) : reply.send(outcome)
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
    const { id, lost } = target.body
    const only = typeof id === 'string' ? id : undefined
    return sendOutcome(reply, await parts.microsoft.sendLifecycle(target.account, event, only, lost === true))
  })

  server.post('/lose', async (request, reply) => {
    const target = readTarget(providers, request, reply)
    if (target === null) return reply
    const { id } = target.body
    if (typeof id !== 'string' || !target.provider.lose(id)) return refuse(reply, 'no such subscription')
    return reply.send({ lost: id })
  })

  server.post('/mute', async (request, reply) => {
    const target = readTarget(providers, request, reply)
    if (target === null) return reply
    const { id } = target.body
    if (typeof id !== 'string' || !target.provider.mute(id)) return refuse(reply, 'no such subscription')
    return reply.send({ muted: id })
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

  server.post('/security-event', async (request, reply) => {
    const target = readTarget(providers, request, reply)
    if (target === null) return reply
    if (parts.google === null || target.provider !== parts.google) return refuse(reply, 'only at google')
    return sendOutcome(reply, await parts.google.sendSecurityEvent(target.account, target.body))
  })

  server.post('/channel', async (request, reply) => {
    const target = readTarget(providers, request, reply)
    if (target === null) return reply
    if (parts.google === null || target.provider !== parts.google) return refuse(reply, 'only at google')
    return sendOutcome(reply, await parts.google.pushChannel(target.account, target.body))
  })
}
