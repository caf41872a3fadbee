/** WI-05 and WI-06: an echo is only ever plain text of a legal value at a URL of ours, also without the database. */
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { type Seeded, seedSubscription } from '../../../e2e/src/seed.ts'
import { openWorld, type World } from '../world.ts'
import { type DatabaseProxy, openDatabaseProxy } from './database-proxy.ts'
import { HOSTILE_TOKENS, LEGAL_TOKENS, MALFORMED_TOKENS } from './hostile-tokens.ts'
import { stored } from './people.ts'
import { type Answer, ask, raw } from './wire.ts'

let proxy: DatabaseProxy
let world: World
let seeded: Seeded

beforeAll(async () => {
  proxy = await openDatabaseProxy(inject('postgresUrl'))
  world = await openWorld({ seenAt: proxy.url })
  seeded = await seedSubscription(world.database.url, world.encryptionKey)
})
afterAll(async () => {
  await proxy.up()
  await world.close()
  await proxy.close()
})

const shake = (token: string, path = seeded.path): Promise<Answer> =>
  ask(world.publicPort, {
    method: 'POST',
    path: `${path}?validationToken=${encodeURIComponent(token)}`,
    headers: { 'content-type': 'text/plain; charset=utf-8' },
    body: '',
  })

function expectInert(answer: Answer): void {
  expect(answer.headers['x-content-type-options']).toBe('nosniff')
  expect(answer.headers['content-security-policy']).toBe("default-src 'none'; sandbox")
  expect(answer.headers['set-cookie']).toBeUndefined()
  expect(answer.headers.location).toBeUndefined()
}

describe('WI-05', () => {
  test('WI-05 a legal token comes back byte for byte as text/plain, inert in every browser', async () => {
    for (const token of LEGAL_TOKENS) {
      const answer = await shake(token)
      expect([token.slice(0, 40), answer.status]).toEqual([token.slice(0, 40), 200])
      expect(answer.text).toBe(token)
      expect(answer.headers['content-type']).toBe('text/plain; charset=utf-8')
      expectInert(answer)
    }
  })

  test('WI-05 200 hostile tokens: 400 without a body', async () => {
    expect(HOSTILE_TOKENS).toHaveLength(200)
    for (const token of HOSTILE_TOKENS) {
      const answer = await shake(token)
      expect([token.slice(0, 60), answer.status, answer.text]).toEqual([token.slice(0, 60), 400, ''])
      expectInert(answer)
    }
    for (const encoded of MALFORMED_TOKENS) {
      const answer = await ask(world.publicPort, {
        method: 'POST',
        path: `${seeded.path}?validationToken=${encoded}`,
      })
      expect([encoded, answer.status, answer.text]).toEqual([encoded, 400, ''])
    }
  })

  test('WI-05 no token, two tokens, or a browser that navigates: 400', async () => {
    expect((await shake('')).status).toBe(400)
    for (const query of ['validationToken=a&validationToken=b', 'validationToken=a&validationToken=a']) {
      const answer = await ask(world.publicPort, { method: 'POST', path: `${seeded.path}?${query}` })
      expect([answer.status, answer.text]).toEqual([400, ''])
    }
    const form = await ask(world.publicPort, {
      method: 'POST',
      path: `${seeded.path}?validationToken=canary`,
      headers: { 'sec-fetch-mode': 'navigate', 'content-type': 'application/x-www-form-urlencoded' },
      body: 'a=b',
    })
    expect([form.status, form.text]).toEqual([400, ''])
  })

  test('WI-05 no other place of the public port echoes anything', async () => {
    const canary = 'canary7f3a'
    const query = `?validationToken=${canary}&challenge=${canary}&state=${canary}&code=${canary}&error=${canary}`
    const places = [
      '/webhook/health',
      '/webhook/events/microsoft',
      `/webhook/events/microsoft/${canary}`,
      `/webhook/events/${canary}`,
      '/webhook/events/google',
      `/webhook/events/google/${canary}`,
      '/webhook/events/dropbox',
      '/webhook/oauth/microsoft/callback',
      '/webhook/oauth/google/callback',
      `/webhook/oauth/${canary}/callback`,
      `/${canary}`,
      '/',
    ]
    for (const path of places) {
      for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE']) {
        const answer = await ask(world.publicPort, {
          method,
          path: path + query,
          headers: { 'x-canary': canary, cookie: `a=${canary}`, 'x-forwarded-host': `${canary}.example` },
          ...(method === 'POST' ? { body: `{"challenge":"${canary}"}` } : {}),
        })
        const told = answer.text + JSON.stringify(answer.headers)
        expect([method, path, told.includes(canary)]).toEqual([method, path, false])
        expect(answer.headers['x-content-type-options']).toBe('nosniff')
      }
    }
    const broken = await raw(world.publicPort, `GET /${canary} HTTP/9.9\r\nHost: ${canary}\r\n\r\n`)
    expect(broken.text).not.toContain(canary)
    expect(await stored(world.db)).toEqual({ notifications: 0, events: 0 })
  })

  test('WI-06 a handshake for a URL that is not ours: 404 without echo', async () => {
    for (const path of [`${seeded.path}x`, seeded.path.slice(0, -3), '/webhook/events/microsoft']) {
      const answer = await shake('canary', path)
      expect([answer.status, answer.text]).toEqual([404, ''])
    }
  })

  test('WI-05 with the database down a handshake is answered within a second, and health with 200', async () => {
    await proxy.down()
    for (const answer of await Promise.all([shake('without a database'), shake('twice')])) {
      expect(answer.status).toBe(200)
      expect(answer.ms).toBeLessThan(1_000)
    }
    const health = await ask(world.publicPort, { path: '/webhook/health' })
    expect(health.status).toBe(200)
    expect(health.ms).toBeLessThan(1_000)
    await proxy.up()
  })

  test('WI-05 with a database that does not answer a handshake is answered within a second', async () => {
    proxy.hang()
    const answer = await shake('hanging')
    expect(answer.text).toBe('hanging')
    expect(answer.ms).toBeLessThan(1_000)
    await proxy.up()
  })
})
