/** Doors of the proxy, one for each method. They translate and never decide; what comes back is passed on as a stream. */
import { Type } from 'typebox'
import type { TokenRead } from '../connections/token-read.ts'
import type { ApiProxy, ProxyOutcome } from '../proxy/proxy.ts'
import { type Incoming, problem, type Reply, type Route, route, serviceOf } from './route.ts'
import { answer } from './token-routes.ts'

/** Why there is no token. */
export type ProxyRefusal = Exclude<TokenRead, { kind: 'token' }>

export interface ProxyDoors {
  readonly proxy: ApiProxy<ProxyRefusal>
}

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const
const Problem = Type.Object({
  error: Type.String(),
  message: Type.String(),
  reason: Type.Optional(Type.String()),
})

export function proxyRoutes({ proxy }: ProxyDoors): Route[] {
  return METHODS.map((method) =>
    route({
      method,
      path: '/internal/connections/:id/proxy/*',
      access: 'service',
      permission: 'proxy',
      streams: true,
      summary:
        'Call the provider’s API with the connection’s token: /proxy/{api}/{path}. Any other status is its',
      params: Type.Object({
        id: Type.String({ pattern: '^[A-Za-z0-9_-]{1,64}$' }),
        '*': Type.String({ maxLength: 8192 }),
      }),
      responses: { 400: Problem, 404: Problem, 409: Problem, 502: Problem, 503: Problem, 504: Problem },
      async handle(request) {
        const incoming = incomingOf(request.incoming)
        const target = /^\/internal\/connections\/[A-Za-z0-9_-]{1,64}\/proxy\/(.*)$/.exec(
          incoming.target,
        )?.[1]
        if (target === undefined) return replyTo({ kind: 'bad_path' })
        const { id } = request.params
        return replyTo(await proxy.call({ ...incoming, ...serviceOf(request), connectionId: id, target }))
      },
    }),
  )
}

function incomingOf(incoming: Incoming | undefined): Incoming {
  if (incoming === undefined)
    throw Object.assign(new Error('a streaming route got no stream'), { code: 'no_incoming', safe: true })
  return incoming
}

const WITHOUT_BODY = [204, 205, 304]

function replyTo(outcome: ProxyOutcome<ProxyRefusal>): Reply {
  switch (outcome.kind) {
    case 'answered': {
      const { status, headers, body } = outcome
      if (status > 599) {
        body.destroy()
        return problem(502, 'bad_gateway', 'The provider answered with a status that is none.')
      }
      if (!WITHOUT_BODY.includes(status)) return { status, headers, body }
      body.resume()
      const { 'content-length': _, ...rest } = headers
      return { status, headers: rest }
    }
    case 'bad_path':
      return problem(
        400,
        'bad_path',
        'Send /proxy/{api}/{path} with a plain path: no dots as segments, no encoded slashes, backslashes or control characters.',
      )
    case 'unknown_api':
      return problem(404, 'unknown_api', 'The provider of this connection has no API of this name.')
    case 'refused':
      return answer(outcome.refusal)
    case 'failed':
      return outcome.reason === 'network'
        ? problem(502, 'provider_unreachable', 'The provider cannot be reached now. Try again later.')
        : problem(504, 'provider_timeout', 'The provider did not answer in time.')
    default:
      return outcome satisfies never
  }
}
