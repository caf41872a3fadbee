/** Bad input at the callbacks over real HTTP: one of our fixed pages, and no flow is touched. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openWorld, type World } from '../world.ts'
import { type Answer, ask } from './wire.ts'

const MICROSOFT = '/webhook/oauth/microsoft/callback'
const GOOGLE = '/webhook/oauth/google/callback'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(async () => {
  const errors = world.lines.filter((line) => line.includes('"level":"error"'))
  await world.close()
  expect(errors).toEqual([])
})

function expectRefusal(what: unknown, answer: Answer, ...statuses: number[]): void {
  expect([what, answer.status, statuses.includes(answer.status)]).toEqual([what, answer.status, true])
  expect(answer.text).not.toMatch(/canary|node_modules|\.ts\b|\bat \w+ \(|Error:/)
  expect(answer.headers['x-content-type-options']).toBe('nosniff')
}

describe('bad input at the callbacks', () => {
  test('a callback of more than 8 KiB: 413', async () => {
    for (const path of [MICROSOFT, GOOGLE])
      for (const chunked of [false, true]) {
        const body = `state=${'x'.repeat(8 * 1024)}`
        const headers = { 'content-type': 'application/x-www-form-urlencoded' }
        expectRefusal(
          path,
          await ask(world.publicPort, { method: 'POST', path, body, headers, chunked }),
          413,
        )
      }
  })

  test('a callback with another content type, doubled parameters, two sources, NUL or invalid UTF-8: 400', async () => {
    const form = 'application/x-www-form-urlencoded'
    const posts: [string, string, string][] = [
      [MICROSOFT, 'state=a&code=b', 'application/json'],
      [MICROSOFT, 'state=a&code=b', 'text/plain'],
      [MICROSOFT, 'state=a&code=b', 'multipart/form-data'],
      [MICROSOFT, '{"state":"a","code":"b"}', form],
      [MICROSOFT, 'state=a&state=a&code=b', form],
      [MICROSOFT, 'state=a&code=b&code=c', form],
      [MICROSOFT, 'state=a&code=b&error=c', form],
      [MICROSOFT, 'state[]=a&code[]=b', form],
      [MICROSOFT, 'state=a%00&code=b', form],
      [MICROSOFT, 'state=%ff%fe&code=b', form],
      [MICROSOFT, '', form],
      [`${MICROSOFT}?state=a`, 'state=a&code=b', form],
      [`${MICROSOFT}?state=a&code=b`, '', form],
      [GOOGLE, 'state=a&code=b', form],
    ]
    for (const [path, body, type] of posts)
      expectRefusal(
        [path, body, type],
        await ask(world.publicPort, { method: 'POST', path, body, headers: { 'content-type': type } }),
        400,
      )
    for (const query of [
      '',
      '?',
      '?state=a',
      '?code=b',
      '?state=a&state=b&code=c',
      '?state=%00&code=b',
      '?state=%ff&code=b',
      `?state=${'x'.repeat(5_000)}&code=b`,
      '?state=canary&code=canary',
    ])
      expectRefusal(query, await ask(world.publicPort, { path: GOOGLE + query }), 400)
  })
})
