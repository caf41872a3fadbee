/** JSON written by an enemy: refused or read, always quickly, and nothing else is touched. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readHostileJson } from '../../src/webhook/hostile-json.ts'

const MEBIBYTE = 1024 * 1024
const read = (text: string) => readHostileJson(Buffer.from(text))
const reasonOf = (text: string | Buffer) => {
  const reading = readHostileJson(Buffer.from(text))
  return reading.kind === 'bad' ? reading.reason : 'accepted'
}

describe('hostile JSON', () => {
  it('reads what JSON.parse reads, when nothing is hostile', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5, stringUnit: 'grapheme' }), (value) => {
        const text = JSON.stringify(value)
        const hostile = /"(__proto__|constructor|prototype)":/.test(text)
        fc.pre(!hostile)
        const reading = read(text)
        expect(reading).toEqual({ kind: 'json', value: JSON.parse(text), text })
      }),
    )
  })

  it('never throws and accepts nothing that JSON.parse refuses', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[[\]{}",:\\u0-9a-e -]*$/)), (text) => {
        const reading = read(text)
        if (reading.kind === 'json') expect(() => JSON.parse(text)).not.toThrow()
      }),
      { numRuns: 2000 },
    )
  })

  it.each([
    ['65 levels', '['.repeat(65) + ']'.repeat(65), 'too_deep'],
    ['64 levels', '['.repeat(64) + ']'.repeat(64), 'accepted'],
    ['brackets in a text', JSON.stringify('['.repeat(1000)), 'accepted'],
    ['__proto__', '{"__proto__":{"isAdmin":true}}', 'refused_key'],
    ['__proto__ in escapes', '{"\\u005f_proto__":1}', 'refused_key'],
    ['constructor.prototype', '{"a":[{"constructor":{"prototype":{"x":1}}}]}', 'refused_key'],
    ['prototype', '{"prototype":1}', 'refused_key'],
    ['__proto__ as a value', '{"a":"__proto__"}', 'accepted'],
    ['a duplicate key', '{"a":1,"b":{"a":2},"a":3}', 'duplicate_key'],
    ['a duplicate key in escapes', '{"a":1,"\\u0061":2}', 'duplicate_key'],
    ['one key in two objects', '[{"a":1},{"a":2}]', 'accepted'],
    ['a lone surrogate as a key', '{"\\ud800":1}', 'refused_key'],
    ['a number that overflows', '[1e999]', 'bad_number'],
    ['a number of a megabyte', '1'.repeat(MEBIBYTE), 'bad_number'],
    ['a byte order mark', '\ufeff{}', 'bad_json'],
    ['bytes that are no UTF-8', Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]), 'bad_utf8'],
    ['an overlong NUL', Buffer.from([0x22, 0xc0, 0x80, 0x22]), 'bad_utf8'],
    ['a raw NUL', '"\u0000"', 'bad_json'],
    ['two values', '{}{}', 'bad_json'],
    ['nothing', '', 'bad_json'],
  ])('WI-10 judges %s', (_name, text, reason) => {
    expect(reasonOf(text)).toBe(reason)
    expect(({} as Record<string, unknown>).isAdmin).toBeUndefined()
    expect(({} as Record<string, unknown>).x).toBeUndefined()
  })

  it('WI-10 keeps NUL and pairs of surrogates, and replaces lone surrogates', () => {
    const reading = read('{"a":"x\\u0000y","b":["\\ud83d\\ude00","\\ud83d!","\\ude00"]}')
    expect(reading).toMatchObject({ kind: 'json', value: { a: 'x\u0000y', b: ['😀', '\ufffd!', '\ufffd'] } })
  })

  const fill = (part: string, before = '', after = '') =>
    Buffer.from(
      before +
        part.repeat(Math.floor((MEBIBYTE - before.length - after.length) / Buffer.byteLength(part))) +
        after,
    )
  const numbered = (count: number, write: (index: number) => string) =>
    Buffer.from(`{${Array.from({ length: count }, (_, index) => write(index)).join(',')}}`)
  const bombs: [string, Buffer][] = [
    ['open brackets', fill('[')],
    ['open objects', fill('{"a":')],
    ['small numbers', fill('0,', '[', '0]')],
    ['empty arrays', fill('[],', '[', '0]')],
    ['empty objects', fill('{},', '[', '0]')],
    ['small objects', fill('{"a":1},', '[', '0]')],
    ['short texts', fill('"a",', '[', '0]')],
    ['quotes', fill('"')],
    ['backslashes', fill('\\\\', '"', '"')],
    ['lone surrogates', fill('"\\ud800",', '[', '0]')],
    ['one long key', fill('a', '{"', '":1}')],
    ['minus signs', fill('-', '[', ']')],
    ['zero bytes', Buffer.alloc(MEBIBYTE)],
    ['invalid bytes', Buffer.alloc(MEBIBYTE, 0xff)],
    ['keys that are array indices', numbered(49_999, (index) => `"${index * 65_536}":1`)],
    ['keys in escapes', numbered(49_999, (index) => `"\\u0061${index}":1`)],
    ['two hundred thousand keys', numbered(100_000, (index) => `"${index}":0`)],
  ]
  it('WI-10 reads a thousand keys in escapes, not one more', () => {
    const keys = (count: number) =>
      Buffer.from(`{${Array.from({ length: count }, (_, index) => `"\\u0061${index}":1`).join(',')}}`)
    expect(readHostileJson(keys(1_000)).kind).toBe('json')
    expect(readHostileJson(keys(1_001))).toEqual({ kind: 'bad', reason: 'too_many_keys' })
  })
  it.each(bombs)('WI-10 reads 1 MiB of %s in under 100 ms of CPU', (_name, bytes) => {
    const costs = Array.from({ length: 3 }, () => {
      const start = process.cpuUsage()
      readHostileJson(bytes)
      const { user, system } = process.cpuUsage(start)
      return (user + system) / 1000
    })
    // The best of three: other work on the machine must not fail the test, a quadratic reader still does.
    expect(Math.min(...costs)).toBeLessThan(100)
  })
})
