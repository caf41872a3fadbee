/** The key set: one request for many, rotation, floods of unknown kids, and the provider being away. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type KeySet, remoteKeys } from '../../src/oauth/keys.ts'
import {
  hostAt,
  type Loopback,
  makeSigner,
  type Signer,
  startClock,
  startLoopback,
  type TestClock,
} from '../loopback.ts'

const HOUR = 3600

describe('signing keys', () => {
  let clock: TestClock
  let server: Loopback
  let one: Signer
  let two: Signer
  let keys: KeySet
  beforeEach(async () => {
    clock = startClock()
    server = await startLoopback()
    ;[one, two] = await Promise.all([makeSigner('one'), makeSigner('two')])
    publish(one)
    keys = remoteKeys(hostAt(clock), `${server.url}/keys`)
  })
  afterEach(() => server.close())

  const publish = (...signers: Signer[]) =>
    server.reply('/keys', { status: 200, body: { keys: signers.map(({ jwk }) => jwk) } })
  const find = async (kid: string, ms = 5000) => (await keys.find(kid, AbortSignal.timeout(ms))).kind
  const requests = () => server.requests.length

  it('WI-13 are fetched once for a hundred who wait', async () => {
    const kinds = await Promise.all(Array.from({ length: 100 }, () => find('one')))
    expect(new Set(kinds)).toEqual(new Set(['found']))
    expect(requests()).toBe(1)
  })

  it('WI-13 a flood of unknown kids asks at most once per 30 s', async () => {
    await find('one')
    clock.forward(31)
    for (let index = 0; index < 50; index += 1) expect(await find(`evil-${index}`)).toBe('unknown')
    expect(requests()).toBe(2)
    clock.forward(29)
    await find('evil')
    expect(requests()).toBe(2)
    clock.forward(1)
    await find('evil')
    expect(requests()).toBe(3)
  })

  it('WI-13 a rotated key is found by asking again', async () => {
    await find('one')
    publish(one, two)
    clock.forward(30)
    expect(await find('two')).toBe('found')
  })

  it('WI-13 a withdrawn key is forgotten after an hour', async () => {
    await find('one')
    publish(two)
    clock.forward(HOUR)
    expect(await find('one')).toBe('unknown')
  })

  it('WI-13 the last known keys serve up to 24 h while the provider is away, unknown ones are undecidable', async () => {
    await find('one')
    server.reply('/keys', { status: 500 })
    clock.forward(24 * HOUR - 1)
    expect(await find('one')).toBe('found')
    expect(await find('two')).toBe('unavailable')
    clock.forward(1)
    expect(await find('one')).toBe('unavailable')
  })

  it('WI-13 a known key hardly waits for a provider that hangs: a moment with the first question, then not at all', async () => {
    await find('one')
    server.reply('/keys', { status: 200, hang: 'at once' })
    clock.forward(HOUR)
    const waited: number[] = []
    for (let index = 0; index < 3; index += 1) {
      const started = performance.now()
      expect(await find('one')).toBe('found')
      waited.push(performance.now() - started)
    }
    expect(waited[0]).toBeLessThan(1000)
    expect(Math.max(...waited.slice(1))).toBeLessThan(100)
    // one question for all of them, and what only it can tell waits for it
    expect(requests()).toBe(2)
    expect(await find('two', 50)).toBe('unavailable')
    expect(requests()).toBe(2)
  })

  it('WI-13 recovers by itself after an outage at the start', async () => {
    server.reply('/keys', { status: 500 })
    expect(await find('one')).toBe('unavailable')
    expect(await find('one')).toBe('unavailable')
    expect(requests()).toBe(1)
    publish(one)
    clock.forward(2)
    expect(await find('one')).toBe('found')
  })

  it('WI-13 who waits gives up at his own deadline; the shared request goes on', async () => {
    server.reply('/keys', { status: 200, hang: 'at once' })
    const started = performance.now()
    expect(await find('one', 50)).toBe('unavailable')
    expect(performance.now() - started).toBeLessThan(1000)
  })

  it.each([
    ['a redirect', { status: 302, headers: { location: '/elsewhere' } }],
    ['no JSON', { status: 200, body: 'keys' }],
    ['no keys', { status: 200, body: { keys: [] } }],
    [
      'only broken keys',
      { status: 200, body: { keys: [{ kty: 'RSA', kid: 'one', n: '!', e: 'AQAB' }, 7, null] } },
    ],
    ['a symmetric key', { status: 200, body: { keys: [{ kty: 'oct', kid: 'one', k: 'AAAA' }] } }],
  ])('takes %s for being away', async (_name, reply) => {
    server.reply('/keys', reply)
    expect(await find('one')).toBe('unavailable')
    expect(server.requestsTo('/elsewhere')).toEqual([])
  })

  it('ignores keys for encryption and for other algorithms', async () => {
    const { jwk } = one
    server.reply('/keys', {
      status: 200,
      body: { keys: [{ ...jwk, kid: 'enc', use: 'enc' }, { ...jwk, kid: 'ps', alg: 'PS256' }, jwk] },
    })
    expect([await find('one'), await find('enc'), await find('ps')]).toEqual(['found', 'unknown', 'unknown'])
  })
})
