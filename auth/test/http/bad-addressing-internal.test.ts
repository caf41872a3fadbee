/** Bad queries, headers and paths at the internal API: a 4xx in its one shape, without an echo. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openWorld, type World } from '../world.ts'
import { type Person, signIn } from './people.ts'
import { type ListedRoute, listRoutes, nameOf, pathOf } from './route-list.ts'
import { type Answer, ask, type Question } from './wire.ts'

const CANARY = 'canary9c1e'

let world: World
let routes: ListedRoute[]
let admin: Person

beforeAll(async () => {
  world = await openWorld()
  routes = await listRoutes(world.internalPort)
  admin = await signIn(world, 'admin@example.com', 'admin')
})
afterAll(async () => {
  const errors = world.lines.filter((line) => line.includes('"level":"error"'))
  await world.close()
  expect(errors).toEqual([])
})

const call = (route: ListedRoute, question: Partial<Question> = {}): Promise<Answer> =>
  ask(world.internalPort, {
    method: route.method,
    path: pathOf(route),
    ...question,
    headers: { ...admin.headers, 'content-type': 'application/json', ...question.headers },
  })

/** The one shape of a refusal: two members, nothing of the request, nothing of our files. */
function expectRefusal(what: unknown, answer: Answer, ...statuses: number[]): void {
  expect([what, answer.status, statuses.includes(answer.status)]).toEqual([what, answer.status, true])
  expect(answer.headers['content-type']).toBe('application/json; charset=utf-8')
  const body = JSON.parse(answer.text) as Record<string, unknown>
  expect(Object.keys(body).sort()).toEqual(['error', 'message'])
  expect(body.error).toMatch(/^[a-z_]+$/)
  expect(answer.text).not.toMatch(/canary|node_modules|\.ts\b|\bat \w+ \(|Error:/)
}

describe('bad addressing at the internal API', () => {
  test('parameters of a query: unknown, doubled, of the wrong type or out of range: 400', async () => {
    const queries = routes.filter(({ hasQuery }) => hasQuery)
    expect(queries.map(nameOf)).toEqual([
      'GET /internal/oauth/token',
      'GET /internal/events',
      'GET /internal/deliveries',
    ])
    for (const query of [
      `${CANARY}=1`,
      'limit=1&limit=2',
      'limit=1&limit=1',
      'limit[]=1',
      'limit=0',
      'limit=-1',
      'limit=101',
      'limit=1.5',
      'limit=1e9',
      'limit=x',
      'limit=',
      'limit=%00',
      `cursor=${CANARY}`,
      'cursor=a&cursor=b',
      `cursor=${'x'.repeat(129)}`,
      'cursor=%00',
      'cursor=%ff',
      'after=%00',
      'after=a&after=b',
      `after=${CANARY}`,
      '__proto__=1',
      'constructor=1',
      '__proto__[x]=1',
    ])
      for (const route of queries)
        expectRefusal(query, await call(route, { path: `${route.pattern}?${query}` }), 400)
  })

  test('a right query is answered: limits at both ends, and the cursors of an answer', async () => {
    const list = async (query: string) => {
      const answer = await ask(world.internalPort, {
        path: `/internal/events?${query}`,
        headers: admin.headers,
      })
      expect([query, answer.status]).toEqual([query, 200])
      return JSON.parse(answer.text) as { head_cursor: string }
    }
    const { head_cursor } = await list('limit=1')
    for (const query of ['', 'limit=100', `after=${head_cursor}`, `cursor=${head_cursor}&limit=5`])
      await list(query)
  })

  test('headers that prove the caller given twice: as if they were not there', async () => {
    const { 'x-session-token': session = '', 'x-service-token': service = '' } = admin.headers
    for (const route of routes.filter(({ access }) => access === 'user' || access === 'admin')) {
      const headers = { 'x-service-token': service, 'x-session-token': [session, session] }
      expectRefusal(nameOf(route), await call(route, { headers }), 401)
    }
  })

  test('paths that are none, or far too long: 4xx without an echo', async () => {
    for (const path of [
      `/${CANARY}`,
      `/internal/${CANARY}`,
      '/internal',
      '/internal/',
      '/internal//connections',
      `/internal/connections/${CANARY}/x`,
      `/internal/events/%zz${CANARY}`,
      `/internal/events/%ff${CANARY}`,
      `/%zz${CANARY}`,
      `/internal/events/${CANARY}${'x'.repeat(8_000)}`,
      `/${CANARY}${'x'.repeat(8_000)}`,
    ])
      for (const method of ['GET', 'DELETE'])
        expectRefusal(
          path.slice(0, 60),
          await ask(world.internalPort, { method, path, headers: admin.headers }),
          400,
          404,
          405,
        )
  })
})
