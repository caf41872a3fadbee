/**
 * The routes of a running Auth, read from its own `/openapi.json`, so that a test over all routes is a test over all
 * routes, also of those that do not exist yet. A new route with a body needs a sample here, or the tests fail.
 */
import { randomBytes } from 'node:crypto'
import { newId } from '../../src/platform/ids.ts'
import { ask, json } from './wire.ts'

export interface ListedRoute {
  readonly method: string
  /** As in the table, with `{id}`. */
  readonly pattern: string
  readonly access: 'public' | 'service' | 'user' | 'admin'
  /** What a named caller needs; undefined: the route is the BFF's alone. */
  readonly permission: string | undefined
  readonly hasBody: boolean
  readonly hasQuery: boolean
}

interface Operation {
  readonly tags?: readonly string[]
  readonly 'x-permission'?: string
  readonly requestBody?: unknown
  readonly parameters?: readonly { readonly in: string }[]
}

/** Nothing in them is required: what else they refuse is in connections/refresh-doors.test.ts. */
const OPTIONAL_BODIES = new Set(['post /internal/connections/{id}/token'])
const METHODS = ['get', 'post', 'put', 'patch', 'delete']

export async function listRoutes(internalPort: number): Promise<ListedRoute[]> {
  const page = json(await ask(internalPort, { path: '/openapi.json' })) as {
    paths: Record<string, Record<string, Operation>>
  }
  return Object.entries(page.paths).flatMap(([pattern, operations]) =>
    Object.entries(operations).flatMap(([method, operation]) =>
      METHODS.includes(method)
        ? [
            {
              method: method.toUpperCase(),
              pattern,
              access: operation.tags?.[0] as ListedRoute['access'],
              permission: operation['x-permission'],
              hasBody: operation.requestBody !== undefined && !OPTIONAL_BODIES.has(`${method} ${pattern}`),
              hasQuery: operation.parameters?.some((parameter) => parameter.in === 'query') === true,
            },
          ]
        : [],
    ),
  )
}

/** A body that each route with one accepts by its form. */
const SAMPLES: Readonly<Record<string, () => Record<string, unknown>>> = {
  'POST /internal/signin-links': () => ({ email: 'sample@example.com', role: 'user' }),
  'POST /internal/sessions': () => ({ signin_token: randomBytes(32).toString('base64url') }),
  'POST /internal/oauth/create-state': () => ({
    user_id: '1',
    provider: 'microsoft',
    session_binding: randomBytes(32).toString('base64url'),
  }),
  'POST /internal/oauth/admin-consent': () => ({ user_id: '1', provider: 'microsoft' }),
  'POST /internal/oauth/complete': () => ({ ticket: randomBytes(32).toString('base64url') }),
  'POST /internal/destinations': () => ({ name: 'sample', url: 'https://93.184.216.34/hook' }),
  'PATCH /internal/destinations/{id}': () => ({ name: 'sample' }),
  'PATCH /internal/subscriptions/{id}': () => ({ enabled: true }),
  'POST /internal/destinations/{id}/rotate-secret': () => ({ overlap_seconds: 60 }),
  'POST /internal/destinations/{id}/test': () => ({ to: 'production' }),
  'POST /internal/destinations/{id}/retry-dead': () => ({
    expected_count: 5,
    idempotency_key: 'sample-key',
  }),
  'POST /internal/rules': () => ({ name: 'sample', destination_id: newId('dst') }),
  'PUT /internal/local/destination': () => ({ name: 'sample', url: 'https://93.184.216.34/hook' }),
}

/** Routes with a body in which every field may be left out; an empty one is right where that says something. */
const NOTHING_REQUIRED = new Set([
  'POST /internal/destinations/{id}/rotate-secret',
  'POST /internal/destinations/{id}/test',
])

export const needsAField = (route: ListedRoute): boolean => !NOTHING_REQUIRED.has(nameOf(route))

export function sampleOf(route: ListedRoute): Record<string, unknown> {
  const sample = SAMPLES[`${route.method} ${route.pattern}`]
  if (sample === undefined) throw new Error(`no sample for ${route.method} ${route.pattern}: add one`)
  return sample()
}

/** With an id that nobody has. */
export const pathOf = (route: ListedRoute): string =>
  route.pattern.replace('{id}', newId('evt')).replace('{*}', 'graph/v1.0/me')
export const nameOf = (route: ListedRoute): string => `${route.method} ${route.pattern}`
