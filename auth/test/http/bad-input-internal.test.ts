/** Bad input at every route of the internal API, generated from its own description: a fitting 4xx in one shape. */
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { askEveryRoute, CANARY, expectRefusal } from './every-route.ts'
import { nameOf, needsAField, sampleOf } from './route-list.ts'
import { ask } from './wire.ts'

const MIB = 1024 * 1024

const every = askEveryRoute()
const { call } = every
const withBody = () => every.routes.filter(({ hasBody }) => hasBody)

describe('bad input at the internal API', () => {
  test('another method: 405 with Allow', async () => {
    const paths = new Map<string, string[]>([['/openapi.json', ['GET']]])
    for (const route of every.routes)
      paths.set(route.pattern.replace('{id}', 'x'), [
        ...(paths.get(route.pattern.replace('{id}', 'x')) ?? []),
        route.method,
      ])
    for (const [path, allowed] of paths)
      for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'HEAD']) {
        if (allowed.includes(method)) continue
        const answer = await ask(every.world.internalPort, { method, path, headers: every.admin.headers })
        expect([method, path, answer.status, answer.headers.allow]).toEqual([
          method,
          path,
          405,
          allowed.join(', '),
        ])
        if (method !== 'HEAD') expectRefusal(path, answer, 405)
      }
  })

  test('another content type: 415', async () => {
    for (const route of withBody())
      for (const type of [
        'text/plain',
        'application/x-www-form-urlencoded',
        'multipart/form-data; boundary=x',
        'application/xml',
        'application/jsonx',
        CANARY,
      ]) {
        const body = JSON.stringify(sampleOf(route))
        expectRefusal(
          [nameOf(route), type],
          await call(route, { body, headers: { 'content-type': type } }),
          415,
        )
      }
  })

  test('a body of 1 MiB and a byte, told or in chunks: 413', async () => {
    const body = `{"name":"${'x'.repeat(MIB - 10)}"}`
    expect(Buffer.byteLength(body)).toBe(MIB + 1)
    for (const route of withBody())
      for (const chunked of [false, true])
        expectRefusal(nameOf(route), await call(route, { body, chunked }), 413)
  })

  test('a compressed body: 415, also when it would decompress to something right', async () => {
    for (const route of withBody())
      for (const encoding of ['gzip', 'br', 'deflate', 'gzip, gzip', CANARY])
        expectRefusal(
          nameOf(route),
          await call(route, {
            body: gzipSync(JSON.stringify(sampleOf(route))),
            headers: { 'content-encoding': encoding },
          }),
          415,
        )
  })

  test('what is no JSON, no object, or no UTF-8: 400', async () => {
    const broken: (string | Buffer)[] = [
      '',
      '{',
      '}',
      `{"${CANARY}"`,
      '{"a":1,}',
      "{'a':1}",
      'null',
      'true',
      '1',
      `"${CANARY}"`,
      '[]',
      '[{}]',
      '{}',
      '\ufeff{}',
      '\0',
      Buffer.from([0xff, 0xfe, 0x7b, 0x7d]),
      Buffer.concat([Buffer.from('{"name":"'), Buffer.from([0xc3, 0x28]), Buffer.from('"}')]),
      Buffer.concat([Buffer.from('{"name":"'), Buffer.from([0xed, 0xa0, 0x80]), Buffer.from('"}')]),
    ]
    for (const route of withBody())
      for (const body of needsAField(route)
        ? broken
        : broken.filter((text) => text !== '{}' && text !== '\ufeff{}'))
        expectRefusal([nameOf(route), String(body)], await call(route, { body }), 400)
  })

  test('invalid UTF-8 inside a body that is otherwise right: 400, never repaired', async () => {
    for (const route of withBody()) {
      const sample = sampleOf(route)
      const [name] = Object.keys(sample)
      const text = Buffer.from(
        JSON.stringify({ ...sample, [name ?? '']: '\u0001' }).replace('\\u0001', '\u0001'),
        'latin1',
      )
      text[text.indexOf(1)] = 0xff
      expectRefusal(nameOf(route), await call(route, { body: text }), 400)
    }
  })

  test('a field that nobody asked for, or a missing one: 400', async () => {
    for (const route of withBody()) {
      const sample = sampleOf(route)
      for (const more of [CANARY, 'id', 'role_', 'isAdmin', 'owner_id', 'toString'])
        expectRefusal(
          [nameOf(route), more],
          await call(route, { body: JSON.stringify({ ...sample, [more]: CANARY }) }),
          400,
        )
      for (const name of needsAField(route) ? Object.keys(sample) : []) {
        const { [name]: _, ...rest } = sample
        expectRefusal([nameOf(route), name], await call(route, { body: JSON.stringify(rest) }), 400)
      }
    }
  })

  test('IA-06 arrays, numbers, objects and nulls for strings: 400', async () => {
    for (const route of withBody()) {
      const sample = sampleOf(route)
      // ids of users may be integers
      for (const name of Object.keys(sample))
        for (const wrong of [
          [sample[name]],
          [],
          {},
          { $ne: null },
          null,
          name === 'user_id' ? 1.5 : 1,
          true,
          { toString: CANARY },
        ].filter((value) => typeof value === 'object' || typeof value !== typeof sample[name]))
          expectRefusal(
            [nameOf(route), name, wrong],
            await call(route, { body: JSON.stringify({ ...sample, [name]: wrong }) }),
            400,
          )
    }
  })

  test('strings of a million characters, empty ones, and NUL: a 4xx', async () => {
    for (const route of withBody()) {
      const sample = sampleOf(route)
      for (const name of Object.keys(sample))
        for (const wrong of [
          '',
          'x'.repeat(200_000),
          '\0',
          `a${CANARY}\0b`,
          '\u2028\u202e',
          '😀'.repeat(40_000),
        ]) {
          const answer = await call(route, { body: JSON.stringify({ ...sample, [name]: wrong }) })
          // a name may be any visible text
          if (answer.status < 300) expect([name, wrong]).toEqual(['name', '\u2028\u202e'])
          else expectRefusal([nameOf(route), name, wrong.slice(0, 9)], answer, 400, 401, 404, 409, 422)
        }
    }
  })
})
