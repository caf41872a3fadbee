import { describe, expect, test } from 'vitest'
import { destinationContext, openRemembered } from '../../src/delivery/destination-attempt.ts'
import type { SealedForAttempt } from '../../src/delivery/destination-store.ts'
import { newSigningSecret } from '../../src/delivery/signature.ts'
import { vault } from './world.ts'

const dataKey = vault.newDataKey(destinationContext('dst_a'))
const seal = () => vault.open(dataKey, destinationContext('dst_a')).seal('secret', newSigningSecret())
const sealed: SealedForAttempt = {
  url: 'https://hook.example/',
  test_url: null,
  data_key: dataKey,
  secret: seal(),
  previous_secret: null,
  headers: null,
  timeout_ms: 5_000,
  retry_schedule: null,
  retry_statuses: null,
  ca: null,
}

describe('a destination that is opened again and again', () => {
  let now = 0
  const open = openRemembered(vault, () => now)

  test('is opened once in some seconds', () => {
    const first = open('dst_a', { ...sealed })
    expect(open('dst_a', { ...sealed })).toBe(first)
    now += 5_001
    expect(open('dst_a', { ...sealed })).not.toBe(first)
  })

  test.each([
    ['secret', seal()],
    ['url', 'https://other.example/'],
    ['timeout_ms', 6_000],
    ['retry_schedule', []],
    ['retry_statuses', []],
    ['ca', 'x'],
    ['previous_secret', null],
  ] as const)('a changed %s counts from the next attempt on', (column, value) => {
    const first = open('dst_a', sealed)
    const next = open('dst_a', { ...sealed, [column]: value })
    if (column === 'previous_secret') expect(next).toBe(first)
    else expect(next).not.toBe(first)
  })

  test('DO-05 a row that cannot be opened is tried again each time', () => {
    const broken = { ...sealed, secret: 'v1.broken' }
    expect(() => open('dst_b', broken)).toThrow()
    expect(() => open('dst_b', broken)).toThrow()
  })
})
