import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { openSearcher } from '../../src/canaries.ts'

const FORMS: Record<string, (secret: string) => Buffer> = {
  plain: (secret) => Buffer.from(secret),
  'base64 after one byte': (secret) => Buffer.from(Buffer.from(`x${secret}`).toString('base64')),
  'base64 after two bytes': (secret) => Buffer.from(Buffer.from(`xy${secret}yz`).toString('base64')),
  base64url: (secret) => Buffer.from(Buffer.from(`{"t":"${secret}"}`).toString('base64url')),
  hex: (secret) => Buffer.from(Buffer.from(secret).toString('hex')),
  HEX: (secret) => Buffer.from(Buffer.from(secret).toString('hex').toUpperCase()),
  URL: (secret) => Buffer.from(encodeURIComponent(secret)),
  'every byte in percent': (secret) =>
    Buffer.from([...Buffer.from(secret)].map((byte) => `%${byte.toString(16).toUpperCase()}`).join('')),
  'UTF-16': (secret) => Buffer.from(secret, 'utf16le'),
  'the first half': (secret) => Buffer.from(secret.slice(0, 24)),
  'the last half': (secret) => Buffer.from(secret.slice(-24)),
}
const RAW_FORMS: Record<string, (secret: string) => Buffer> = {
  'raw bytes': (secret) => Buffer.from(secret, 'base64url'),
  'hex of raw bytes': (secret) => Buffer.from(Buffer.from(secret, 'base64url').toString('hex')),
  'base64 of raw bytes': (secret) => Buffer.from(Buffer.from(secret, 'base64url').toString('base64')),
}

const others = Array.from({ length: 500 }, () => ({
  name: 'other',
  value: randomBytes(32).toString('base64url'),
}))

describe('the search for secrets', () => {
  it.each(Object.entries(FORMS))('TV-01 OP-01 finds a planted canary in the form: %s', (_form, encode) => {
    const secret = `CANARY+/${randomBytes(32).toString('base64url')}=`
    const searcher = openSearcher([...others, { name: 'planted', value: secret }])
    for (const before of [0, 1, 2, 3, 4096]) {
      const bytes = Buffer.concat([randomBytes(before), encode(secret), randomBytes(5)])
      expect(searcher.search('here', bytes).map(({ name, medium }) => `${name} ${medium}`)).toContain(
        'planted here',
      )
    }
  })

  it.each(Object.entries(RAW_FORMS))('TV-01 finds what a key stands for: %s', (_form, encode) => {
    const secret = `${randomBytes(32).toString('base64url')}=`
    const searcher = openSearcher([...others, { name: 'key', value: secret }])
    const bytes = Buffer.concat([randomBytes(100), encode(secret), randomBytes(100)])
    expect(searcher.search('here', bytes)).not.toEqual([])
  })

  it('TV-01 finds nothing where there is nothing', () => {
    const searcher = openSearcher(others)
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4096 }), (bytes) => {
        expect(searcher.search('noise', bytes)).toEqual([])
      }),
    )
  })

  it('TV-01 refuses a secret that is too short to be told from chance', () => {
    expect(() => openSearcher([{ name: 'short', value: 'hunter2' }])).toThrow(/too short/)
  })
})
