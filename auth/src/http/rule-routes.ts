/** Doors of the rules, for administrators. They translate; `routing/` decides. */
import { Type } from 'typebox'
import { isId } from '../platform/ids.ts'
import type { RuleRow, Rules } from '../routing/rules.ts'
import { callerOf, created, noContent, ok, problem, type Route, route } from './route.ts'

export interface RuleDoors {
  readonly rules: Rules
}

const Name = Type.String({ minLength: 1, maxLength: 100, pattern: '^[^\\u0000-\\u001f\\u007f]+$' })
const Problem = Type.Object({ error: Type.String(), message: Type.String() })
const Rule = Type.Object({
  id: Type.String(),
  name: Type.String(),
  destination_id: Type.String(),
  types: Type.Array(Type.String()),
  providers: Type.Array(Type.String()),
  connections: Type.Array(Type.String()),
})
const listOf = (pattern: string, maxLength: number) =>
  Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength, pattern }), { maxItems: 100 }))

export function ruleRoutes({ rules }: RuleDoors): Route[] {
  return [listRoute(rules), createRoute(rules), deleteRoute(rules)]
}

function listRoute(rules: Rules): Route {
  return route({
    method: 'GET',
    path: '/internal/rules',
    access: 'admin',
    summary: 'Rules in force, oldest first',
    responses: { 200: Type.Object({ items: Type.Array(Rule) }) },
    handle: async () => ok({ items: (await rules.list()).filter((rule) => rule.enabled).map(viewOf) }),
  })
}

function createRoute(rules: Rules): Route {
  return route({
    method: 'POST',
    path: '/internal/rules',
    access: 'admin',
    summary: 'A new rule; an absent or empty list means any',
    body: Type.Object(
      {
        name: Name,
        destination_id: Type.String({ maxLength: 64 }),
        types: listOf('^[a-z0-9_.*]+$', 128),
        providers: listOf('^[a-z0-9_-]+$', 64),
        connections: listOf('^con_[a-z2-7]{26}$', 30),
      },
      { additionalProperties: false },
    ),
    responses: { 201: Rule, 422: Problem },
    async handle(request) {
      const { name, destination_id, types, providers, connections } = request.body
      if (!isId('dst', destination_id)) return UNKNOWN_DESTINATION
      const made = await rules.create(`user:${callerOf(request).userId}`, {
        name,
        destinationId: destination_id,
        types: types ?? [],
        providers: providers ?? [],
        connections: connections ?? [],
      })
      switch (made.kind) {
        case 'created':
          return created(viewOf(made.rule))
        case 'unknown_destination':
          return UNKNOWN_DESTINATION
        case 'invalid_pattern':
          return INVALID_PATTERN
        default:
          return made satisfies never
      }
    },
  })
}

function deleteRoute(rules: Rules): Route {
  return route({
    method: 'DELETE',
    path: '/internal/rules/:id',
    access: 'admin',
    summary: 'Deletes a rule; deliveries that it has caused stay',
    params: Type.Object({ id: Type.String({ maxLength: 64 }) }),
    responses: { 204: Type.Null(), 404: Problem },
    async handle(request) {
      const { id } = request.params
      const actor = `user:${callerOf(request).userId}`
      return isId('rul', id) && (await rules.remove(actor, id))
        ? noContent()
        : problem(404, 'not_found', 'There is no such rule.')
    },
  })
}

const UNKNOWN_DESTINATION = problem(
  422,
  'unknown_destination',
  'The rule names no destination. Create the destination first.',
)
const INVALID_PATTERN = problem(
  422,
  'invalid_pattern',
  'A type is dotted words without prefix and version, with * only at the end: mail.mailbox.notified, mail.*',
)

function viewOf(row: RuleRow) {
  const { id, name, destination_id, types, providers, connections } = row
  return { id, name, destination_id, types, providers, connections }
}
