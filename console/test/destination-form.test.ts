import type { DestinationView } from '@flovify/client/wire'
import { describe, expect, test } from 'vitest'
import { changeOf, type Fields, fieldsOf, judgeFields, needsHeaders } from '../src/destination-form.ts'
import { fieldOf } from '../src/destination-sentences.ts'

const known = {
  kind: 'n8n',
  name: 'Orders',
  url: 'https://n8n.example.com/webhook/orders',
  test_url: 'https://n8n.example.com/webhook-test/orders',
  header_names: ['x-api-key'],
  concurrency: 10,
  rate_per_second: null,
  timeout_ms: 15_000,
  retry_schedule: null,
  retry_statuses: null,
  ca: null,
} as unknown as DestinationView
const edited = (some: Partial<Fields>): Fields => ({ ...fieldsOf(known), ...some })

describe('the form of a destination', () => {
  test.each([
    { url: 'https://other.example.com/webhook/orders' },
    { url: 'http://n8n.example.com/webhook/orders' },
    { url: 'https://n8n.example.com:8443/webhook/orders' },
    { testUrl: 'https://other.example.com/' },
  ])('DO-05 asks for stored headers again when the address leads elsewhere: %j', (some) => {
    const judged = judgeFields(edited(some), known)
    expect(judged).toMatchObject({ kind: 'mistake', field: 'header' })
    expect(judgeFields(edited({ ...some, headers: [] }), known)).toMatchObject({
      kind: 'ready',
      request: { headers: {} },
    })
  })

  test('DO-05 another path is the same place, and who has no headers is asked for none', () => {
    expect(judgeFields(edited({ url: 'https://n8n.example.com/webhook/x' }), known).kind).toBe('ready')
    const moved = edited({ url: 'https://other.example.com/' })
    expect(needsHeaders(moved, { ...known, header_names: [] })).toBe(false)
    expect(needsHeaders(moved, undefined)).toBe(false)
    // what is typed half is no address yet
    expect(needsHeaders(edited({ url: 'https://' }), known)).toBe(false)
  })

  test('a changed production URL goes out alone, and an emptied test URL as “follows”', () => {
    const change = (some: Partial<Fields>) => {
      const judged = judgeFields(edited(some), known)
      if (judged.kind !== 'ready') throw new Error(judged.message)
      return changeOf(judged.request, known)
    }
    const url = 'https://n8n.example.com/webhook/x'
    expect(change({ url })).toEqual({ url })
    expect(change({ testUrl: '' })).toEqual({ test_url: null })
  })

  test('a refusal for headers is shown at them', () => {
    const message =
      'This address is of another host, port or scheme than the stored header values were given for, and they are never sent elsewhere: give headers again, all of them, or an empty object for none.'
    expect(fieldOf({ error: 'headers_needed', message })).toBe('header')
  })
})
