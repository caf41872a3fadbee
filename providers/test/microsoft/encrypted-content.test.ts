/** Opening encrypted content against the published vector and what can be done to it, and the certificates it is made for. */
import { createHmac, createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { newCertificate } from '../../src/microsoft/resource-data/certificate.ts'
import { openContent } from '../../src/microsoft/resource-data/encrypted-content.ts'
import type { Json, JsonObject } from '../../src/provider.ts'
import { encrypt, testCertificate } from './rich-ground.ts'

/** Published by Microsoft in the unit tests of two of its SDKs; its source is named in the file. */
const VECTOR = JSON.parse(
  readFileSync(new URL('./fixtures/encrypted-content.json', import.meta.url), 'utf8'),
) as {
  encryptedContent: Record<string, string>
  certificateDerBase64: string
  plaintext: string
  privateKeyPkcs8DerBase64: string
}
const CONTENT = VECTOR.encryptedContent
const KEY = createPrivateKey({
  key: Buffer.from(VECTOR.privateKeyPkcs8DerBase64, 'base64'),
  format: 'der',
  type: 'pkcs8',
})

const open = (content: Json, key = KEY) =>
  openContent(content, async (id) =>
    id === CONTENT.encryptionCertificateId ? { kind: 'key', key } : { kind: 'unknown' },
  )

const flipped = (base64: string | undefined, at: number) => {
  const bytes = Buffer.from(base64 ?? '', 'base64')
  bytes[at] = (bytes[at] ?? 0) ^ 1
  return bytes.toString('base64')
}

describe('encrypted content', () => {
  it('WI-01 the published vector opens, to the letter', async () => {
    const opened = await open(CONTENT)
    expect(opened.kind).toBe('opened')
    expect(opened.kind === 'opened' && JSON.stringify(opened.resource)).toBe(
      JSON.stringify(JSON.parse(VECTOR.plaintext)),
    )
    expect(opened).toMatchObject({ resource: { body: { content: 'Hello World' } } })
  })

  const dataLength = Buffer.from(CONTENT.data ?? '', 'base64').length
  const forgeries: [string, JsonObject, string][] = [
    ['one bit of the data', { data: flipped(CONTENT.data, 40) }, 'bad_data_signature'],
    ['the last bit of the data', { data: flipped(CONTENT.data, dataLength - 1) }, 'bad_data_signature'],
    ['one bit of the signature', { dataSignature: flipped(CONTENT.dataSignature, 31) }, 'bad_data_signature'],
    ['a signature of nothing', { dataSignature: '' }, 'bad_encrypted_content'],
    [
      'a truncated signature',
      { dataSignature: CONTENT.dataSignature?.slice(0, 20) ?? '' },
      'bad_data_signature',
    ],
    [
      'a signature over the base64 text',
      {
        dataSignature: createHmac('sha256', Buffer.alloc(32))
          .update(CONTENT.data ?? '')
          .digest('base64'),
      },
      'bad_data_signature',
    ],
    ['data of no whole block', { data: 'AAAA' }, 'bad_encrypted_content'],
    ['data in base64url', { data: (CONTENT.data ?? '').replaceAll('/', '_') }, 'bad_encrypted_content'],
    ['data that is no text', { data: [CONTENT.data ?? ''] }, 'bad_encrypted_content'],
    ['no data', { data: '' }, 'bad_encrypted_content'],
    ['no key', { dataKey: '' }, 'bad_encrypted_content'],
  ]
  it.each(forgeries)('WI-01 %s: not a byte of it is believed', async (_, change, reason) => {
    expect(await open({ ...CONTENT, ...change })).toEqual({ kind: 'forged', reason })
  })

  it.each([[null], ['text'], [[]], [{}], [7]])('WI-01 %j in its place is not content', async (content) => {
    expect(await open(content)).toEqual({ kind: 'forged', reason: 'bad_encrypted_content' })
  })

  it('what was encrypted to another key, or names another certificate, stays closed and says why', async () => {
    const other = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
    expect(await open(CONTENT, other)).toEqual({ kind: 'unreadable', reason: 'wrong_certificate' })
    expect(await open({ ...CONTENT, dataKey: flipped(CONTENT.dataKey, 9) })).toEqual({
      kind: 'unreadable',
      reason: 'wrong_certificate',
    })
    for (const encryptionCertificateId of ['another', '', 7])
      expect(await open({ ...CONTENT, encryptionCertificateId })).toEqual({
        kind: 'unreadable',
        reason: 'unknown_certificate',
      })
    expect(await openContent(CONTENT, async () => ({ kind: 'unusable' }))).toEqual({
      kind: 'unreadable',
      reason: 'unusable_certificate',
    })
  })

  it('the padding is with SHA-1 alone, and what is no JSON object is no resource', async () => {
    const certificate = await testCertificate('c1')
    const read = (content: Json) => openContent(content, async () => certificate.reading)
    expect(await read(encrypt(certificate, { id: 'x' }))).toEqual({ kind: 'opened', resource: { id: 'x' } })
    expect(await read(encrypt(certificate, {}, { oaepHash: 'sha256' }))).toMatchObject({
      reason: 'wrong_certificate',
    })
    for (const text of ['', 'text', '[]', '"x"', 'null', '{"__proto__":{"a":1}}', '{"a":1,"a":2}', '\ufffe'])
      expect(await read(encrypt(certificate, undefined, { text })), text).toEqual({
        kind: 'unreadable',
        reason: 'bad_resource',
      })
    expect(Reflect.has({}, 'a')).toBe(false)
  })
})

describe('the certificate of a subscription', () => {
  const now = new Date('2026-09-20T10:00:00Z')

  it('is a self-signed X.509 certificate of an RSA key of 2,048 bits, whose private half it comes with', async () => {
    const { certificate, privateKey } = await newCertificate(now)
    const parsed = new X509Certificate(Buffer.from(certificate, 'base64'))
    expect(parsed.publicKey.asymmetricKeyDetails?.modulusLength).toBe(2048)
    expect(parsed.verify(parsed.publicKey)).toBe(true)
    const key = createPrivateKey({
      key: Buffer.from(privateKey.reveal(), 'base64'),
      format: 'der',
      type: 'pkcs8',
    })
    expect(parsed.checkPrivateKey(key)).toBe(true)
    expect(parsed.subject).toBe(parsed.issuer)
    expect(parsed.ca).toBe(true)
    expect(new Date(parsed.validFrom).getTime()).toBeLessThan(now.getTime())
    expect(new Date(parsed.validTo).getTime()).toBeGreaterThan(now.getTime() + 300 * 86_400_000)
    // what is stored and sent is the public half alone
    expect(certificate).not.toContain(privateKey.reveal().slice(100, 160))
    expect(`${privateKey}`).toBe('***')
  })

  it('is valid to the year 2050 and beyond, and no two have the same key or number', async () => {
    const late = new X509Certificate(
      Buffer.from((await newCertificate(new Date('2049-12-31T00:00:00Z'))).certificate, 'base64'),
    )
    expect(late.validTo).toContain('2050')
    const early = new X509Certificate(Buffer.from((await newCertificate(now)).certificate, 'base64'))
    expect(late.serialNumber).not.toBe(early.serialNumber)
    expect(late.fingerprint256).not.toBe(early.fingerprint256)
  })

  it('has the shape of the certificate that Microsoft published with its vector', async () => {
    const { certificate } = await newCertificate(now)
    const shape = (encoded: string) => outline(Buffer.from(encoded, 'base64'))
    expect(shape(certificate)).toEqual(shape(VECTOR.certificateDerBase64))
  })
})

/** Tags and object identifiers in their order, down to what is constructed. */
function outline(der: Buffer): string[] {
  const lines: string[] = []
  let at = 0
  while (at < der.length) {
    const tag = der[at] ?? 0
    let length = der[at + 1] ?? 0
    let head = 2
    if (length >= 0x80) {
      const bytes = length & 0x7f
      length = der.subarray(at + 2, at + 2 + bytes).reduce((sum, byte) => sum * 256 + byte, 0)
      head += bytes
    }
    const value = der.subarray(at + head, at + head + length)
    if ((tag & 0x20) !== 0) lines.push(`constructed ${tag.toString(16)}`, ...outline(value))
    else if (tag === 0x06) lines.push(`identifier ${value.toString('hex')}`)
    else if (tag === 0x01) lines.push(`boolean ${value.toString('hex')}`)
    at += head + length
  }
  return lines
}
