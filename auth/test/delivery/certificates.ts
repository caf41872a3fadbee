/**
 * X.509 certificates made when a test runs, so that none lies in the repository: an authority, and certificates that it
 * signs, right or wrong in one point. Just enough DER for a TLS server. Source: RFC 5280 §4.1, RFC 5480, X.690.
 */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'

export interface Certificate {
  readonly name: string
  /** PEM. */
  readonly cert: string
  /** PEM, PKCS #8. */
  readonly key: string
  readonly privateKey: KeyObject
}

export interface CertificateRequest {
  /** Common name, and the only DNS name. */
  readonly name: string
  readonly signedBy?: Certificate
  readonly authority?: boolean
  /** Days from now; by default from yesterday to tomorrow. */
  readonly fromDays?: number
  readonly toDays?: number
}

export function makeCertificate(request: CertificateRequest): Certificate {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const tbs = sequence(
    tagged(0xa0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ECDSA_WITH_SHA256,
    nameOf(request.signedBy?.name ?? request.name),
    sequence(time(request.fromDays ?? -1), time(request.toDays ?? 1)),
    nameOf(request.name),
    publicKey.export({ type: 'spki', format: 'der' }),
    tagged(0xa3, sequence(...extensions(request))),
  )
  const signature = sign('sha256', tbs, request.signedBy?.privateKey ?? privateKey)
  const certificate = sequence(
    tbs,
    ECDSA_WITH_SHA256,
    tagged(0x03, Buffer.concat([Buffer.from([0]), signature])),
  )
  const lines = certificate.toString('base64').match(/.{1,64}/g) ?? []
  return {
    name: request.name,
    cert: ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n'),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    privateKey,
  }
}

function extensions(request: CertificateRequest): Buffer[] {
  const dnsName = tagged(0x82, Buffer.from(request.name))
  return [
    sequence(objectId('551d11'), tagged(0x04, sequence(dnsName))),
    ...(request.authority === true
      ? [
          sequence(
            objectId('551d13'),
            tagged(0x01, Buffer.from([0xff])),
            tagged(0x04, sequence(tagged(0x01, Buffer.from([0xff])))),
          ),
        ]
      : []),
  ]
}

const objectId = (hex: string) => tagged(0x06, Buffer.from(hex, 'hex'))
const sequence = (...parts: Buffer[]) => tagged(0x30, Buffer.concat(parts))
const integer = (value: Buffer) => tagged(0x02, value)
const ECDSA_WITH_SHA256 = sequence(objectId('2a8648ce3d040302'))

function nameOf(commonName: string): Buffer {
  const attribute = sequence(objectId('550403'), tagged(0x0c, Buffer.from(commonName)))
  return sequence(tagged(0x31, attribute))
}

/** GeneralizedTime: `YYYYMMDDHHMMSSZ`. */
function time(daysFromNow: number): Buffer {
  const at = new Date(Date.now() + daysFromNow * 86_400_000)
  return tagged(0x18, Buffer.from(`${at.toISOString().replaceAll(/[-:T]/g, '').slice(0, 14)}Z`))
}

function tagged(tag: number, value: Buffer): Buffer {
  const { length } = value
  const head =
    length < 0x80
      ? [tag, length]
      : length < 0x100
        ? [tag, 0x81, length]
        : [tag, 0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from(head), value])
}
