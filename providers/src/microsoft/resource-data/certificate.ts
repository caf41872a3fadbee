/**
 * Makes the certificates that Graph encrypts resource data to (protocols/microsoft.md §3.1): an RSA key pair of 2,048 bits
 * and, because Graph takes a public key only in this wrapping, a self-signed X.509 certificate. Nobody trusts it, nobody
 * checks its issuer or its end; it has the shape that `openssl req -x509` gives. Just enough DER for that one shape
 * (docs/decisions/0047). Source: RFC 5280 §4.1, RFC 8017 §A.2.4, X.690.
 */
import { generateKeyPair, hash, type KeyObject, randomBytes, sign } from 'node:crypto'
import { promisify } from 'node:util'
import type { NewCertificate } from '../../provider.ts'
import { Secret } from '../../secret.ts'

const makePair = promisify(generateKeyPair)
const MODULUS_BITS = 2048
const NAME = 'Flovify Connect notifications'
const DAY_MS = 24 * 60 * 60 * 1000
const DAYS = 365

/** Takes some 0.1 s of another thread. */
export async function newCertificate(now: Date): Promise<NewCertificate> {
  const { publicKey, privateKey } = await makePair('rsa', { modulusLength: MODULUS_BITS })
  const toBeSigned = certificateBody(publicKey, now)
  const signature = sign('sha256', toBeSigned, privateKey)
  return {
    certificate: sequence(toBeSigned, SHA256_WITH_RSA, bits(signature)).toString('base64'),
    privateKey: new Secret(privateKey.export({ type: 'pkcs8', format: 'der' }).toString('base64')),
  }
}

function certificateBody(publicKey: KeyObject, now: Date): Buffer {
  const from = new Date(now.getTime() - DAY_MS)
  const to = new Date(now.getTime() + DAYS * DAY_MS)
  const keyId = Buffer.from(hash('sha1', publicKey.export({ type: 'pkcs1', format: 'der' }), 'hex'), 'hex')
  return sequence(
    tagged(0xa0, integer(Buffer.of(2))),
    serialNumber(),
    SHA256_WITH_RSA,
    name(NAME),
    sequence(time(from), time(to)),
    name(NAME),
    publicKey.export({ type: 'spki', format: 'der' }),
    tagged(
      0xa3,
      sequence(
        extension('551d0e', tagged(0x04, keyId)),
        extension('551d23', sequence(tagged(0x80, keyId))),
        extension('551d13', sequence(TRUE), TRUE),
      ),
    ),
  )
}

/** Positive and of one length: the first byte is neither 0 nor 128 or more. */
function serialNumber(): Buffer {
  const bytes = randomBytes(16)
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40
  return integer(bytes)
}

function tagged(tag: number, value: Buffer): Buffer<ArrayBuffer> {
  const { length } = value
  const head =
    length < 0x80
      ? [tag, length]
      : length < 0x100
        ? [tag, 0x81, length]
        : [tag, 0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from(head), value])
}

const sequence = (...parts: readonly Buffer[]) => tagged(0x30, Buffer.concat(parts))
const integer = (value: Buffer) => tagged(0x02, value)
const bits = (value: Buffer) => tagged(0x03, Buffer.concat([Buffer.of(0), value]))
const objectId = (hex: string) => tagged(0x06, Buffer.from(hex, 'hex'))
const TRUE = tagged(0x01, Buffer.of(0xff))
const SHA256_WITH_RSA = sequence(objectId('2a864886f70d01010b'), tagged(0x05, Buffer.alloc(0)))

function extension(idHex: string, value: Buffer, critical = Buffer.alloc(0)): Buffer {
  return sequence(objectId(idHex), critical, tagged(0x04, value))
}

function name(common: string): Buffer {
  return sequence(tagged(0x31, sequence(objectId('550403'), tagged(0x0c, Buffer.from(common)))))
}

/** RFC 5280 §4.1.2.5: UTCTime up to 2049, GeneralizedTime from then on. */
function time(at: Date): Buffer {
  const digits = at.toISOString().replaceAll(/[-:T]/g, '').slice(0, 14)
  return at.getUTCFullYear() < 2050
    ? tagged(0x17, Buffer.from(`${digits.slice(2)}Z`))
    : tagged(0x18, Buffer.from(`${digits}Z`))
}
