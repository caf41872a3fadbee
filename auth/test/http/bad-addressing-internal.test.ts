/** Bad queries, headers and paths at the internal API: a 4xx in its one shape, without an echo. */
import { describe, expect, test } from 'vitest'
import { askEveryRoute, CANARY, expectRefusal } from './every-route.ts'
import { nameOf } from './route-list.ts'
import { ask } from './wire.ts'

const every = askEveryRoute()
const { call } = every

describe('bad addressing at the internal API', () => {
  test('parameters of a query: unknown, doubled, of the wrong type or out of range: 400', async () => {
    const queries = every.routes.filter(({ hasQuery }) => hasQuery)
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
      const answer = await ask(every.world.internalPort, {
        path: `/internal/events?${query}`,
        headers: every.admin.headers,
      })
      expect([query, answer.status]).toEqual([query, 200])
      return JSON.parse(answer.text) as { head_cursor: string }
    }
    const { head_cursor } = await list('limit=1')
    for (const query of ['', 'limit=100', `after=${head_cursor}`, `cursor=${head_cursor}&limit=5`])
      await list(query)
  })

  test('headers that prove the caller given twice: as if they were not there', async () => {
    const { 'x-session-token': session = '', 'x-service-token': service = '' } = every.admin.headers
    for (const route of every.routes.filter(({ access }) => access === 'user' || access === 'admin')) {
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
          await ask(every.world.internalPort, { method, path, headers: every.admin.headers }),
          400,
          404,
          405,
        )
  })
})
