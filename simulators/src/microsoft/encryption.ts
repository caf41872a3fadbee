/**
 * Resource data in notifications (protocols/microsoft.md §3.1): which certificate a subscriber may name, and what Graph does
 * with it. A new key for each item, AES-256-CBC, an HMAC over the ciphertext, the key under the subscriber's public key.
 * Written from the document alone.
 */
import {
  constants,
  createCipheriv,
  createHmac,
  publicEncrypt,
  randomBytes,
  X509Certificate,
} from 'node:crypto'
import { invalid, type Refusal } from './refusal.ts'

export interface SubscriberCertificate {
  id: string
  certificate: X509Certificate
}

export type CertificateReading = { kind: 'read'; certificate: SubscriberCertificate | null } | Refusal

/** @param body of a creation or a change: both fields, or neither */
export function readCertificate(body: Record<string, unknown>): CertificateReading {
  const { encryptionCertificate: encoded = null, encryptionCertificateId: id = null } = body
  if (encoded === null && id === null) return { kind: 'read', certificate: null }
  if (typeof id !== 'string' || id.length === 0 || id.length > 128)
    return invalid('encryptionCertificateId must be a text of at most 128 characters.')
  if (typeof encoded !== 'string' || !/^[A-Za-z0-9+/]+={0,2}$/.test(encoded))
    return invalid('encryptionCertificate must be a certificate in Base64.')
  let certificate: X509Certificate
  try {
    certificate = new X509Certificate(Buffer.from(encoded, 'base64'))
  } catch {
    return invalid('encryptionCertificate is not an X.509 certificate.')
  }
  const { asymmetricKeyType, asymmetricKeyDetails } = certificate.publicKey
  const bits = asymmetricKeyDetails?.modulusLength ?? 0
  if (asymmetricKeyType !== 'rsa' || bits < 2048 || bits > 4096)
    return invalid('The key of encryptionCertificate must be RSA of 2,048 to 4,096 bits.')
  return { kind: 'read', certificate: { id, certificate } }
}

const notForNotifications =
  'Operation: Create; Exception: [Status Code: BadRequest; Reason: $top, $skip, $orderby, $select=body,uniqueBody and $expand other than singleValueExtendedProperties,multiValueExtendedProperties are not supported in subscription resource Url.]'

export type SelectReading = { kind: 'read'; select: readonly string[] } | Refusal

/** Outlook demands a choice of properties with resource data, and refuses bodies. */
export function readSelect(resource: string): SelectReading {
  const query = new URLSearchParams(resource.split('?')[1] ?? '')
  const names = (query.get('$select') ?? '').split(',').map((name) => name.trim().toLowerCase())
  const refused = ['$top', '$skip', '$orderby', '$expand'].some((name) => query.has(name))
  if (refused || names.includes('body') || names.includes('uniquebody'))
    return { kind: 'refused', status: 400, code: 'ExtensionError', message: notForNotifications }
  if (names.every((name) => name === ''))
    return invalid('$select must be part of the resource when includeResourceData is true.')
  return { kind: 'read', select: names }
}

export const contentForgeries = ['data', 'dataSignature', 'dataKey', 'certificateId'] as const
export type ContentForgery = (typeof contentForgeries)[number]

/** @param resource as a GET would answer it; only what was chosen is sent */
export function encryptedContent(
  { id, certificate }: SubscriberCertificate,
  select: readonly string[],
  resource: Record<string, unknown>,
  forge: ContentForgery | null,
): Record<string, string> {
  const chosen = Object.fromEntries(
    Object.entries(resource).filter(([name]) => select.includes(name.toLowerCase())),
  )
  const key = randomBytes(32)
  const cipher = createCipheriv('aes-256-cbc', key, key.subarray(0, 16))
  const data = Buffer.concat([cipher.update(JSON.stringify(annotated(chosen)), 'utf8'), cipher.final()])
  const dataSignature = createHmac('sha256', key).update(data).digest()
  const wrapped = publicEncrypt(
    { key: certificate.publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' },
    key,
  )
  if (forge === 'data') data[0] = (data[0] ?? 0) ^ 1
  if (forge === 'dataSignature') dataSignature[0] = (dataSignature[0] ?? 0) ^ 1
  if (forge === 'dataKey') wrapped[wrapped.length - 1] = (wrapped.at(-1) ?? 0) ^ 1
  return {
    data: data.toString('base64'),
    dataKey: wrapped.toString('base64'),
    dataSignature: dataSignature.toString('base64'),
    encryptionCertificateId: forge === 'certificateId' ? 'a-certificate-of-somebody-else' : id,
    encryptionCertificateThumbprint: certificate.fingerprint.replaceAll(':', ''),
  }
}

/** Outlook's content names the types of some of its members, as a GET does not. */
function annotated(resource: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(resource).flatMap(([name, value]) =>
      name.endsWith('DateTime')
        ? [
            [`${name}@odata.type`, '#DateTimeOffset'],
            [name, value],
          ]
        : [[name, value]],
    ),
  )
}
