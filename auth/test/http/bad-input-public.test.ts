/** Bad input at the three public paths: a fitting 4xx, empty or one of our fixed pages, and nothing is stored. */
import { createHmac } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Seeded, seedSubscription } from '../../../e2e/src/seed.ts'
import { openWorld, type World } from '../world.ts'
import { stored } from './people.ts'
import { type Answer, ask } from './wire.ts'

const MIB = 1024 * 1024
const HEALTH = '/webhook/health'
const MICROSOFT = '/webhook/oauth/microsoft/callback'
const GOOGLE = '/webhook/oauth/google/callback'

let world: World
let seeded: Seeded
let events: string[]

beforeAll(async () => {
  world = await openWorld()
  seeded = await seedSubscription(world.database.url, world.encryptionKey)
  events = [seeded.path, '/webhook/events/microsoft', '/webhook/events/google']
})
afterAll(async () => {
  const after = await stored(world.db)
  const errors = world.lines.filter((line) => line.includes('"level":"error"'))
  await world.close()
  expect(after).toEqual({ notifications: 0, events: 0 })
  expect(errors).toEqual([])
})

function expectRefusal(what: unknown, answer: Answer, ...statuses: number[]): void {
  expect([what, answer.status, statuses.includes(answer.status)]).toEqual([what, answer.status, true])
  expect(answer.text).not.toMatch(/canary|node_modules|\.ts\b|\bat \w+ \(|Error:/)
  expect(answer.headers['x-content-type-options']).toBe('nosniff')
}

describe('bad input at the public port', () => {
  test('another method: 405 with Allow', async () => {
    const allowed = new Map([
      [HEALTH, 'GET, HEAD'],
      [MICROSOFT, 'GET, POST'],
      [GOOGLE, 'GET, POST'],
      ...events.map((path) => [path, 'POST'] as const),
    ])
    for (const [path, allow] of allowed)
      for (const method of [
        'GET',
        'HEAD',
        'POST',
        'PUT',
        'PATCH',
        'DELETE',
        'OPTIONS',
        'TRACE',
        'PROPFIND',
      ]) {
        if (allow.split(', ').includes(method)) continue
        const answer = await ask(world.publicPort, { method, path })
        expectRefusal([method, path], answer, 405)
        expect([path, answer.headers.allow]).toEqual([path, allow])
      }
  })

  test('a provider that is unknown or off: 404', async () => {
    for (const id of [
      'dropbox',
      'Microsoft',
      'microsoft2',
      '__proto__',
      'constructor',
      'a'.repeat(33),
      '%6dicrosoft',
      '.',
      '..',
    ])
      for (const path of [
        `/webhook/events/${id}`,
        `/webhook/events/${id}/ref`,
        `/webhook/oauth/${id}/callback`,
      ])
        for (const method of ['GET', 'POST'])
          expectRefusal(path, await ask(world.publicPort, { method, path }), 404)
  })

  test('a body of 1 MiB and a byte, told or in chunks: 413; of exactly 1 MiB it is read', async () => {
    for (const path of events)
      for (const chunked of [false, true])
        expectRefusal(
          path,
          await ask(world.publicPort, { method: 'POST', path, body: Buffer.alloc(MIB + 1, ' '), chunked }),
          413,
        )
    const full = await ask(world.publicPort, {
      method: 'POST',
      path: seeded.path,
      body: Buffer.alloc(MIB, ' '),
    })
    expectRefusal('full', full, 400)
  })

  test('a compressed body: 415, also when it would decompress to something genuine', async () => {
    for (const path of [...events, MICROSOFT])
      for (const encoding of ['gzip', 'br', 'deflate', 'gzip, identity', 'canary'])
        expectRefusal(
          [path, encoding],
          await ask(world.publicPort, {
            method: 'POST',
            path,
            body: gzipSync(seeded.notification('zip')),
            headers: { 'content-encoding': encoding, 'content-type': 'application/json' },
          }),
          415,
        )
  })

  test('a body that is no JSON, no UTF-8, or not of the form, at a path of ours: 400', async () => {
    const bodies: (string | Buffer)[] = [
      '',
      '{',
      '[]',
      'null',
      '"canary"',
      '1',
      '{}',
      '{"value":{}}',
      '{"value":"canary"}',
      '\ufeff{"value":[]}',
      '\0',
      Buffer.from([0xff, 0xfe]),
      Buffer.concat([
        Buffer.from('{"value":[{"clientState":"'),
        Buffer.from([0xc0, 0x80]),
        Buffer.from('"}]}'),
      ]),
      `{"value":[${Array(1_001).fill('{}').join(',')}]}`,
    ]
    for (const body of bodies)
      expectRefusal(
        String(body).slice(0, 30),
        await ask(world.publicPort, { method: 'POST', path: seeded.path, body }),
        400,
      )
  })

  test('the content type of a notification proves nothing and spoils nothing; what is not proven stays out', async () => {
    for (const type of [
      'text/plain',
      'text/html',
      'application/x-www-form-urlencoded',
      'multipart/form-data',
      'canary',
    ])
      for (const path of events) {
        const answer = await ask(world.publicPort, {
          method: 'POST',
          path,
          body: 'canary',
          headers: { 'content-type': type },
        })
        expectRefusal([path, type], answer, 400, 401)
      }
  })

  test('WI-11 a security header given twice is refused: 400', async () => {
    const body = seeded.notification('twice')
    const signature = createHmac('sha256', world.environment.MICROSOFT_WEBHOOK_SECRET ?? '')
      .update(body)
      .digest('hex')
    for (const value of [
      [signature, signature],
      [signature, ''],
      ['', signature],
    ])
      expectRefusal(
        value,
        await ask(world.publicPort, {
          method: 'POST',
          path: seeded.path,
          body,
          headers: { 'x-ms-signature': value },
        }),
        400,
      )
  })

  test('a ref with other characters or of more than 160 is no path of ours: 404', async () => {
    for (const ref of ['a'.repeat(161), 'a b', 'a\0', 'ü', 'a/b', '']) {
      const path = `/webhook/events/microsoft/${encodeURI(ref)}`
      expectRefusal(path, await ask(world.publicPort, { method: 'POST', path, body: '{}' }), 404)
    }
  })

  test('a path of 40 KB: 414', async () => {
    for (const path of [
      `/${'x'.repeat(40_000)}`,
      `${HEALTH}?${'x'.repeat(40_000)}`,
      `${seeded.path}?validationToken=${'x'.repeat(40_000)}`,
    ])
      for (const method of ['GET', 'POST'])
        expectRefusal(path.slice(0, 40), await ask(world.publicPort, { method, path }), 414)
  })
})
