/** The part of the table about destinations: for administrators, which Auth decides. What they mean is checked there too. */
import type { DestinationChange, NewDestination, SecretRotation } from '@flovify/client'
import { Type } from 'typebox'
import type { Deps } from './deps.ts'
import { type Input, type Reply, type Route, route } from './route.ts'
import { closed, Id } from './shapes.ts'
import { withSession } from './views.ts'

const OrNull = <T extends Parameters<typeof Type.Union>[0][number]>(type: T) =>
  Type.Union([type, Type.Null()])
const Url = Type.String({ minLength: 1, maxLength: 2048 })
const Name = Type.String({ minLength: 1, maxLength: 100 })
const settings = {
  kind: Type.Optional(Type.Union([Type.Literal('http'), Type.Literal('n8n')])),
  test_url: Type.Optional(OrNull(Url)),
  headers: Type.Optional(Type.Record(Type.String({ maxLength: 128 }), Type.String({ maxLength: 8192 }))),
  concurrency: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
  rate_per_second: Type.Optional(OrNull(Type.Integer({ minimum: 1, maximum: 100_000 }))),
  timeout_ms: Type.Optional(Type.Integer({ minimum: 100, maximum: 30_000 })),
  retry_schedule: Type.Optional(OrNull(Type.Array(Type.Integer(), { maxItems: 20 }))),
  retry_statuses: Type.Optional(OrNull(Type.Array(Type.Integer(), { maxItems: 100 }))),
  ca: Type.Optional(OrNull(Type.String({ maxLength: 65_536 }))),
}
const New = Type.Object({ name: Name, url: Url, ...settings }, closed)
const Change = Type.Object(
  { name: Type.Optional(Name), url: Type.Optional(Url), ...settings },
  { ...closed, minProperties: 1 },
)
const Rotation = Type.Object(
  {
    overlap_seconds: Type.Optional(Type.Integer({ minimum: 0, maximum: 30 * 24 * 3600 })),
    replace_running: Type.Optional(Type.Boolean()),
  },
  closed,
)
const Test = Type.Object({ to: Type.Union([Type.Literal('production'), Type.Literal('test')]) }, closed)

type One = Input<{ id: string }>

export function destinationRoutes(deps: Deps): Route[] {
  const { auth } = deps
  const answer = async (
    input: Input,
    status: number,
    ask: (session: string) => Promise<unknown>,
  ): Promise<Reply> => withSession(input, async (session) => ({ status, body: await ask(session) }))
  const onOne = (ask: (session: string, id: string) => Promise<unknown>) => (input: One) =>
    answer(input, 200, (session) => ask(session, input.params.id))
  return [
    route({
      method: 'GET',
      path: '/bff/destinations',
      access: 'session',
      changes: false,
      summary: 'All destinations.',
      handle: (input) => answer(input, 200, (session) => auth.destinations(session)),
    }),
    route({
      method: 'POST',
      path: '/bff/destinations',
      access: 'session',
      changes: true,
      summary: 'A new destination; its secret is in this answer alone.',
      body: New,
      handle: (input) =>
        answer(input, 201, (session) => auth.createDestination(session, input.body as NewDestination)),
    }),
    route({
      method: 'GET',
      path: '/bff/destinations/:id',
      access: 'session',
      changes: false,
      summary: 'One destination.',
      params: Id,
      handle: onOne((session, id) => auth.destination(session, id)),
    }),
    route({
      method: 'PATCH',
      path: '/bff/destinations/:id',
      access: 'session',
      changes: true,
      summary: 'Changes what is given.',
      params: Id,
      body: Change,
      handle: (input) =>
        answer(input, 200, (session) =>
          auth.changeDestination(session, input.params.id, input.body as DestinationChange),
        ),
    }),
    route({
      method: 'DELETE',
      path: '/bff/destinations/:id',
      access: 'session',
      changes: true,
      summary: 'Deletes a destination; what was on the way is cancelled.',
      params: Id,
      handle: (input) =>
        withSession(input, async (session) => {
          await auth.deleteDestination(session, input.params.id)
          return { status: 204 }
        }),
    }),
    route({
      method: 'POST',
      path: '/bff/destinations/:id/pause',
      access: 'session',
      changes: true,
      summary: 'Holds its deliveries.',
      params: Id,
      handle: onOne((session, id) => auth.pauseDestination(session, id)),
    }),
    route({
      method: 'POST',
      path: '/bff/destinations/:id/resume',
      access: 'session',
      changes: true,
      summary: 'Ends a pause, or takes a disabled one into use again.',
      params: Id,
      handle: onOne((session, id) => auth.resumeDestination(session, id)),
    }),
    route({
      method: 'POST',
      path: '/bff/destinations/:id/rotate-secret',
      access: 'session',
      changes: true,
      summary: 'A new signing secret, in this answer alone.',
      params: Id,
      body: Rotation,
      bodyOptional: true,
      handle: (input) =>
        answer(input, 200, (session) =>
          auth.rotateSecret(session, input.params.id, input.body as SecretRotation),
        ),
    }),
    route({
      method: 'POST',
      path: '/bff/destinations/:id/test',
      access: 'session',
      changes: true,
      summary: 'Sends an example event and explains the answer.',
      params: Id,
      body: Test,
      handle: (input) =>
        answer(input, 200, (session) => auth.testDestination(session, input.params.id, input.body.to)),
    }),
  ]
}
