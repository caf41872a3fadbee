/** One spelling per signature, in both encodings. */
import { createHmac } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { Secret } from '../../src/secret.ts'
import { isHmacSha256 } from '../../src/webhook/hmac.ts'

const KEY = new Secret('key')
const BYTES = Buffer.from('The quick brown fox jumps over the lazy dog')

describe('HMAC-SHA256', () => {
  it('WI-01 knows the published digest of a well-known text', () => {
    const hex = 'f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8'
    expect(isHmacSha256(KEY, BYTES, hex, 'hex')).toBe(true)
    expect(isHmacSha256(KEY, BYTES, Buffer.from(hex, 'hex').toString('base64'), 'base64')).toBe(true)
  })

  it('WI-01 refuses every other spelling of the right base64 digest', () => {
    const good = createHmac('sha256', 'key').update(BYTES).digest('base64')
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
    const last = alphabet.indexOf(good.charAt(42))
    // The last letter has two unused bits: its neighbours decode to the same 32 bytes.
    const twins = [1, 2, 3].map((bits) => `${good.slice(0, 42)}${alphabet.charAt(last ^ bits)}=`)
    expect(twins.map((twin) => Buffer.from(twin, 'base64').equals(Buffer.from(good, 'base64')))).toEqual([
      true,
      true,
      true,
    ])
    for (const presented of [
      ...twins,
      good.slice(0, -1),
      `${good}\n`,
      ` ${good}`,
      `${good}${good}`,
      '',
      Buffer.from(good, 'base64').toString('hex'),
    ]) {
      expect(isHmacSha256(KEY, BYTES, presented, 'base64')).toBe(false)
    }
  })

  it('WI-02 refuses a digest that differs in any single bit, and unequal lengths without an exception', () => {
    const digest = createHmac('sha256', 'key').update(BYTES).digest()
    for (let bit = 0; bit < 256; bit += 1) {
      const other = Buffer.from(digest)
      other[bit >> 3] = (other[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      expect(isHmacSha256(KEY, BYTES, other.toString('hex'), 'hex')).toBe(false)
    }
    for (const length of [0, 1, 31, 33, 1000])
      expect(isHmacSha256(KEY, BYTES, '0'.repeat(length * 2), 'hex')).toBe(false)
  })
})
