import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compileRules, type RuleDefinition } from '../../src/routing/match.ts'
import { compilePattern, typeSegments } from '../../src/routing/pattern.ts'

const matches = (pattern: string, type: string) => compilePattern(pattern)?.matches(typeSegments(type))

describe('a type pattern', () => {
  test.each([
    ['mail.mailbox.notified', 'mail.mailbox.v1.notified', true],
    ['mail.mailbox.notified', 'mail.mailbox.v2.notified', true],
    ['mail.mailbox.notified', 'mail.mailbox.v1.notified.twice', false],
    ['mail.mailbox', 'mail.mailbox.v1.notified', false],
    ['mail.*', 'mail.mailbox.v1.notified', true],
    ['mail.mailbox.*', 'mail.mailbox.v1.notified', true],
    ['mail.*.*', 'mail.mailbox.v1.notified', true],
    ['mail.*.*.*', 'mail.mailbox.v1.notified', false],
    ['mail.*', 'mail', false],
    ['mail.*', 'mailbox.thing.v1.notified', false],
    ['*', 'connection.v1.created', true],
    ['connection.created', 'connection.v1.created', true],
    ['calendar.*', 'mail.mailbox.v1.notified', false],
  ])('%s on %s is %s', (pattern, type, expected) => {
    expect(matches(pattern, type)).toBe(expected)
  })

  test.each([
    '',
    '.',
    'mail.',
    '.mail',
    'mail..x',
    '*.notified',
    'mail.*.notified',
    'mail*',
    'Mail.x',
    'mail.v1.x',
    'mail.x y',
    'a.'.repeat(80),
    'a.b.c.d.e.f.g.h.i',
    '(a+)+$',
  ])('%j is none', (text) => {
    expect(compilePattern(text)).toBeUndefined()
  })

  test('matches the type that it spells, whatever version stands in it, and every type under its own stem', () => {
    const word = fc.stringMatching(/^[a-u][a-z0-9_]{0,8}$/)
    const words = fc.array(word, { minLength: 1, maxLength: 5 })
    fc.assert(
      fc.property(words, fc.nat(99), fc.nat(5), word, (stem, version, place, other) => {
        const type = stem.toSpliced(place % (stem.length + 1), 0, `v${version}`).join('.')
        expect(matches(stem.join('.'), type)).toBe(true)
        expect(matches(`${stem.join('.')}.*`, `${type}.${other}`)).toBe(true)
        expect(matches(`${stem.join('.')}.*`, type)).toBe(false)
        expect(matches([...stem, other].join('.'), type)).toBe(false)
      }),
    )
  })
})

const rule = (id: string, destinationId: string, parts: Partial<RuleDefinition> = {}): RuleDefinition => ({
  id,
  destinationId,
  types: [],
  providers: [],
  connections: [],
  ...parts,
})
const mail = { type: 'mail.mailbox.v1.notified', provider: 'one', connectionId: 'con_a' }

describe('the rules', () => {
  test('match by type, provider and connection; an empty list means any', () => {
    const match = compileRules([
      rule('rul_1', 'dst_any'),
      rule('rul_2', 'dst_mail', { types: ['calendar.*', 'mail.*'] }),
      rule('rul_3', 'dst_two', { providers: ['two'] }),
      rule('rul_4', 'dst_a', { connections: ['con_a'], providers: ['one'] }),
    ])
    expect(match(mail).map((found) => found.destinationId)).toEqual(['dst_any', 'dst_mail', 'dst_a'])
    expect(match({ type: 'files.drive.v1.notified', provider: 'two', connectionId: 'con_b' })).toEqual([
      { ruleId: 'rul_1', destinationId: 'dst_any' },
      { ruleId: 'rul_3', destinationId: 'dst_two' },
    ])
  })

  test('a rule that names providers or connections does not match an event without one', () => {
    const match = compileRules([
      rule('rul_1', 'dst_1', { providers: ['one'] }),
      rule('rul_2', 'dst_2', { connections: ['con_a'] }),
    ])
    expect(match({ type: 'relay.message.v1.received' })).toEqual([])
  })

  test('two matching rules of one destination send once, for the first rule by id', () => {
    const match = compileRules([rule('rul_b', 'dst_1'), rule('rul_a', 'dst_1'), rule('rul_c', 'dst_2')])
    expect(match(mail)).toEqual([
      { ruleId: 'rul_a', destinationId: 'dst_1' },
      { ruleId: 'rul_c', destinationId: 'dst_2' },
    ])
    const narrow = compileRules([rule('rul_a', 'dst_1', { types: ['files.*'] }), rule('rul_b', 'dst_1')])
    expect(narrow(mail)).toEqual([{ ruleId: 'rul_b', destinationId: 'dst_1' }])
  })

  test('an event about a destination goes to the others, never to it', () => {
    const match = compileRules([rule('rul_1', 'dst_1'), rule('rul_2', 'dst_2')])
    const found = match({ type: 'destination.v1.failing', subject: 'destinations/dst_1' })
    expect(found).toEqual([{ ruleId: 'rul_2', destinationId: 'dst_2' }])
  })

  test('a rule whose only pattern cannot be read matches nothing, not everything', () => {
    expect(compileRules([rule('rul_1', 'dst_1', { types: ['*.notified'] })])(mail)).toEqual([])
  })
})
