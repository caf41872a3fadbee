/**
 * The control routes that act as people: consent or refuse without a browser, decide before the browser comes,
 * withdraw a consent, hold tokens that no browser has fetched.
 */
import type { FastifyInstance } from 'fastify'
import type { Provider } from '../provider.ts'
import { jsonBody } from '../server.ts'
import { isCount, readTarget, refuse } from './request.ts'

export function servePeople(server: FastifyInstance, providers: readonly Provider[]): void {
  server.post('/authorize', async (request, reply) => {
    const body: Record<string, unknown> = jsonBody(request) ?? {}
    const { authUrl, scopes } = body
    if (typeof authUrl !== 'string' || !URL.canParse(authUrl)) return refuse(reply, 'authUrl must be a URL')
    const url = new URL(authUrl)
    const provider = providers.find((candidate) => candidate.url === url.origin)
    if (provider === undefined) return refuse(reply, 'authUrl is not of a simulated provider')
    const account = body.account ?? provider.hinted(url)
    if (typeof account !== 'string' || !provider.hasAccount(account)) return refuse(reply, 'no such account')
    const list = Array.isArray(scopes) ? scopes.map(String) : null
    if (provider.faults.down !== false) return reply.code(503).send({ error: 'the provider is down' })
    const answer = provider.authorize(url, { account, scopes: list, deny: body.deny === true })
    if (answer.kind === 'callback') return reply.send(answer.callback)
    return reply
      .code(422)
      .send({ error: 'dead_end', status: answer.status, title: answer.title, detail: answer.detail })
  })

  server.post('/choose', async (request, reply) => {
    const target = readTarget(providers, request, reply)
    if (target === null) return reply
    const { provider, account, body } = target
    const scopes = Array.isArray(body.scopes) ? body.scopes.map(String) : null
    provider.choose({ account, scopes, deny: body.deny === true })
    return reply.send({ chosen: account })
  })

  server.post('/grants', async (request, reply) => {
    const target = readTarget(providers, request, reply)
    if (target === null) return reply
    const { provider, account, body } = target
    const count = body.count ?? 1
    if (!isCount(count, 1, 20_000)) return refuse(reply, 'count must be 1 to 20000')
    if (!Array.isArray(body.scopes)) return refuse(reply, 'scopes must be a list')
    return reply.send({ grants: provider.mint(account, body.scopes.map(String), count) })
  })

  server.post('/revoke-account', async (request, reply) => {
    const target = readTarget(providers, request, reply)
    if (target === null) return reply
    target.provider.revoke(target.account)
    return reply.send({ revoked: target.account })
  })

  server.post('/withdraw-consent', async (request, reply) => {
    const target = readTarget(providers, request, reply)
    if (target === null) return reply
    target.provider.withdraw(target.account)
    return reply.send({ withdrawn: target.account })
  })
}
