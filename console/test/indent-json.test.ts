import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { indentJson } from '../src/indent-json.ts'

describe('laying JSON out', () => {
  test('adds lines and depth', () => {
    expect(indentJson('{"a":[1,{}],"b":[],"c":"{,}"}')).toBe(
      '{\n  "a": [\n    1,\n    {}\n  ],\n  "b": [],\n  "c": "{,}"\n}',
    )
  })

  test('changes no value and adds nothing but white space', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        const laidOut = indentJson(text)
        expect(JSON.parse(laidOut)).toEqual(JSON.parse(text))
        expect(laidOut.replace(/\s/g, '')).toBe(text.replace(/\s/g, ''))
      }),
    )
  })

  test('keeps what parsing would lose: long numbers, repeated names, escapes', () => {
    const text = '{"n":12345678901234567890,"n":1.0,"s":"\\u003cscript\\u003e\\""}'
    expect(indentJson(text).replace(/\s/g, '')).toBe(text)
  })

  test.each(['', 'not json', '{"a":', '<script>', '{"a":1}}'])('leaves %j as it is', (text) => {
    expect(indentJson(text)).toBe(text)
  })
})
