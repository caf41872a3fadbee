/** Questions to every route of the internal API as its description lists them, and the one shape of a refusal. */
import { afterAll, beforeAll, expect } from 'vitest'
import { openWorld, type World } from '../world.ts'
import { type Person, signIn } from './people.ts'
import { type ListedRoute, listRoutes, pathOf } from './route-list.ts'
import { type Answer, ask, type Question } from './wire.ts'

export const CANARY = 'canary9c1e'

/** To be called once in a file; what it returns is filled before the first test. No error may have been logged at the end. */
export function askEveryRoute() {
  const every = {
    world: undefined as unknown as World,
    admin: undefined as unknown as Person,
    routes: [] as ListedRoute[],
    /** As an administrator, with a body of JSON, unless the question says otherwise. */
    call: (route: ListedRoute, question: Partial<Question> = {}): Promise<Answer> =>
      ask(every.world.internalPort, {
        method: route.method,
        path: pathOf(route),
        ...question,
        headers: { ...every.admin.headers, 'content-type': 'application/json', ...question.headers },
      }),
  }
  beforeAll(async () => {
    every.world = await openWorld()
    every.routes = await listRoutes(every.world.internalPort)
    every.admin = await signIn(every.world, 'admin@example.com', 'admin')
  })
  afterAll(async () => {
    const errors = every.world.lines.filter((line) => line.includes('"level":"error"'))
    await every.world.close()
    expect(errors).toEqual([])
  })
  return every
}

/** Two members, nothing of the request, nothing of our files. */
export function expectRefusal(what: unknown, answer: Answer, ...statuses: number[]): void {
  expect([what, answer.status, statuses.includes(answer.status)]).toEqual([what, answer.status, true])
  expect(answer.headers['content-type']).toBe('application/json; charset=utf-8')
  const body = JSON.parse(answer.text) as Record<string, unknown>
  expect(Object.keys(body).sort()).toEqual(['error', 'message'])
  expect(body.error).toMatch(/^[a-z_]+$/)
  expect(answer.text).not.toMatch(/canary|node_modules|\.ts\b|\bat \w+ \(|Error:/)
}
