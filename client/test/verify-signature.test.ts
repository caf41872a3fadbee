import { Webhook } from 'standardwebhooks'
import { describe, expect, test } from 'vitest'
import { verifySignature } from '../src/index.ts'

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`
const OTHER = `whsec_${Buffer.alloc(32, 8).toString('base64')}`
const NOW = new Date('2026-11-23T12:00:00Z')
const BODY = '{"id":"evt_a","data":{"text":"grüße"}}'

/** Signed by the reference library, not by us. */
function signed(changes: { secret?: string; at?: Date; id?: string } = {}): Record<string, string> {
  const id = changes.id ?? 'evt_a'
  const at = changes.at ?? NOW
  return {
    'webhook-id': id,
    'webhook-timestamp': String(at.getTime() / 1000),
    'webhook-signature': new Webhook(changes.secret ?? SECRET).sign(id, at, BODY),
  }
}
const judge = (
  headers: Record<string, string | string[]>,
  secrets = [SECRET],
  body: string | Buffer = BODY,
) => verifySignature({ headers, body }, secrets, { now: NOW })

describe('a genuine delivery', () => {
  test('is recognised from text, from bytes and from fetch headers', () => {
    const genuine = { kind: 'genuine', id: 'evt_a', sentAt: NOW }
    expect(judge(signed())).toEqual(genuine)
    expect(judge(signed(), [SECRET], Buffer.from(BODY))).toEqual(genuine)
    expect(verifySignature({ headers: new Headers(signed()), body: BODY }, [SECRET], { now: NOW })).toEqual(
      genuine,
    )
  })

  test('is recognised while secrets rotate, on either side', () => {
    expect(judge(signed(), [OTHER, SECRET]).kind).toBe('genuine')
    const both = { ...signed(), 'webhook-signature': `${signature(OTHER)} v2,x ${signature(SECRET)}` }
    expect(judge(both).kind).toBe('genuine')
  })

  test('is accepted up to five minutes either side', () => {
    expect(judge(signed({ at: seconds(-300) })).kind).toBe('genuine')
    expect(judge(signed({ at: seconds(300) })).kind).toBe('genuine')
  })
})

describe('anything else is refused', () => {
  test('one changed byte', () => {
    expect(judge(signed(), [SECRET], BODY.replace('ü', 'u'))).toEqual({
      kind: 'refused',
      reason: 'wrong_signature',
    })
  })
  test('another secret', () => {
    expect(judge(signed(), [OTHER])).toEqual({ kind: 'refused', reason: 'wrong_signature' })
  })
  test('another id or another time under the same signature', () => {
    expect(judge({ ...signed(), 'webhook-id': 'evt_b' })).toMatchObject({ reason: 'wrong_signature' })
    const later = String(seconds(1).getTime() / 1000)
    expect(judge({ ...signed(), 'webhook-timestamp': later })).toMatchObject({ reason: 'wrong_signature' })
  })
  test('too old and too new', () => {
    expect(judge(signed({ at: seconds(-301) }))).toEqual({ kind: 'refused', reason: 'too_old' })
    expect(judge(signed({ at: seconds(301) }))).toEqual({ kind: 'refused', reason: 'too_new' })
  })
  test.each(['webhook-id', 'webhook-timestamp', 'webhook-signature'])('without %s', (name) => {
    const headers = signed()
    delete headers[name]
    expect(judge(headers)).toEqual({ kind: 'refused', reason: 'header_missing' })
  })
  test.each(['', 'v1', 'v1,', 'v1,AAAA', 'v2,AAAA', 'v1a,AAAA'])('signature %j', (value) => {
    expect(judge({ ...signed(), 'webhook-signature': value })).toMatchObject({ kind: 'refused' })
  })
  test.each(['1e9', '-1', '0x10', '1.5', 'NaN', ' '])('timestamp %j', (value) => {
    expect(judge({ ...signed(), 'webhook-timestamp': value })).toEqual({
      kind: 'refused',
      reason: 'header_malformed',
    })
  })
  test('a repeated header', () => {
    const headers = signed()
    expect(judge({ ...headers, 'webhook-id': ['evt_a', 'evt_a'] })).toMatchObject({
      reason: 'header_malformed',
    })
  })
  test('everything, when no secret is configured', () => {
    expect(judge(signed(), [])).toEqual({ kind: 'refused', reason: 'no_secret' })
  })
  test('a secret that is not one is a mistake of ours and throws without printing it', () => {
    expect(() => judge(signed(), ['whsec_short'])).toThrow(/24 bytes/)
    expect(() => judge(signed(), ['whsec_short'])).not.toThrow(/whsec_short/)
  })
})

const seconds = (count: number) => new Date(NOW.getTime() + count * 1000)
const signature = (secret: string) => new Webhook(secret).sign('evt_a', NOW, BODY)
