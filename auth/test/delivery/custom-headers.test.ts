import { describe, expect, test } from 'vitest'
import { readCustomHeaders } from '../../src/delivery/custom-headers.ts'

describe('DO-05 headers of a destination', () => {
  test('are read with names in lower case, values untouched', () => {
    expect(readCustomHeaders({ 'X-Api-Key': 'a b\tc', authorization: 'Bearer x' })).toEqual({
      kind: 'read',
      headers: { 'x-api-key': 'a b\tc', authorization: 'Bearer x' },
    })
    expect(readCustomHeaders({})).toEqual({ kind: 'read', headers: {} })
  })

  test.each([
    ['a line break in a value', { 'x-a': 'one\r\nx-b: two' }],
    ['a bare line feed', { 'x-a': 'one\ntwo' }],
    ['a bare carriage return', { 'x-a': 'one\rtwo' }],
    ['NUL', { 'x-a': 'one\0two' }],
    ['another control character', { 'x-a': 'one\u0007' }],
    ['letters beyond ASCII', { 'x-a': 'café' }],
    ['an empty value', { 'x-a': '' }],
    ['space around a value', { 'x-a': ' one' }],
    ['a line break in a name', { 'x-a\r\nx-b': 'one' }],
    ['a space in a name', { 'x a': 'one' }],
    ['a colon in a name', { 'x:a': 'one' }],
    ['an empty name', { '': 'one' }],
    ['a pseudo header', { ':path': '/' }],
    ['letters beyond ASCII in a name', { 'x-ä': 'one' }],
    ['one name in two spellings', { 'X-A': 'one', 'x-a': 'two' }],
    ['a name that is too long', { ['x'.repeat(129)]: 'one' }],
    ['more than 8 KiB', { 'x-a': 'a'.repeat(8_192) }],
    ['more than 32', Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`x-${i}`, 'v']))],
    ...[
      'Host',
      'Content-Length',
      'content-type',
      'Content-Encoding',
      'Transfer-Encoding',
      'Connection',
      'Keep-Alive',
      'TE',
      'Trailer',
      'Upgrade',
      'Proxy-Authorization',
      'Expect',
      'Date',
      'User-Agent',
      'Cookie',
      'Forwarded',
      'X-Forwarded-For',
      'Webhook-Id',
      'webhook-signature',
      'webhook-timestamp',
      'ce-id',
    ].map((name): [string, Record<string, string>] => [`the reserved name ${name}`, { [name]: 'one' }]),
  ])('with %s are refused, without repeating a value', (_, headers) => {
    const reading = readCustomHeaders(headers as Record<string, string>)
    expect(reading.kind).toBe('refused')
    if (reading.kind !== 'refused') return
    for (const value of Object.values(headers))
      if (value.length > 3) expect(reading.mistakes.join()).not.toContain(value)
  })
})
