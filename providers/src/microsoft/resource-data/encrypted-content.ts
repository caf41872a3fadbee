/**
 * Opens the `encryptedContent` of one item (protocols/microsoft.md §3.1): the item's own key by RSA-OAEP, then the HMAC of
 * the ciphertext in constant time, and only after that the ciphertext itself. It never returns a byte of content whose
 * HMAC is wrong, and it keeps neither key nor content. Who sent the item has to be proven before (validation-tokens.ts).
 */
import { createDecipheriv, type KeyObject, webcrypto } from 'node:crypto'
import type { Json, JsonObject, PrivateKeyReading } from '../../provider.ts'
import { isHmacSha256 } from '../../webhook/hmac.ts'
import { isObject, readHostileJson } from '../../webhook/hostile-json.ts'

export type OpenedContent =
  | { readonly kind: 'opened'; readonly resource: JsonObject }
  /** Not as its sender made it. */
  | { readonly kind: 'forged'; readonly reason: 'bad_encrypted_content' | 'bad_data_signature' }
  /** Nothing speaks against it, and we cannot read it. */
  | { readonly kind: 'unreadable'; readonly reason: UnreadableReason }

export type UnreadableReason =
  /** It names a certificate that we did not give out for this subscription, or do not have any more. */
  | 'unknown_certificate'
  /** Our private key of it cannot be opened. */
  | 'unusable_certificate'
  /** It was encrypted to another key than that of the certificate which it names. */
  | 'wrong_certificate'
  /** Its HMAC is right, and what is in it is no resource. */
  | 'bad_resource'

const KEY_BYTES = 32
const BLOCK_BYTES = 16
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/

export async function openContent(
  content: Json,
  privateKey: (certificateId: string) => Promise<PrivateKeyReading>,
): Promise<OpenedContent> {
  const data = bytesOf(content, 'data')
  const dataKey = bytesOf(content, 'dataKey')
  const signature = textOf(content, 'dataSignature')
  if (data === undefined || data.length % BLOCK_BYTES !== 0 || dataKey === undefined || signature === '')
    return { kind: 'forged', reason: 'bad_encrypted_content' }
  const found = await privateKey(textOf(content, 'encryptionCertificateId'))
  if (found.kind !== 'key')
    return {
      kind: 'unreadable',
      reason: found.kind === 'unknown' ? 'unknown_certificate' : 'unusable_certificate',
    }
  const key = await unwrap(found.key, dataKey)
  if (key === undefined) return { kind: 'unreadable', reason: 'wrong_certificate' }
  if (!isHmacSha256(key, data, signature, 'base64')) return { kind: 'forged', reason: 'bad_data_signature' }
  const resource = decrypt(key, data)
  key.fill(0)
  return resource === undefined
    ? { kind: 'unreadable', reason: 'bad_resource' }
    : { kind: 'opened', resource }
}

const imported = new WeakMap<KeyObject, webcrypto.CryptoKey>()

/** On another thread: it takes 1 to 3 ms, and a notification may have hundreds of items. */
async function unwrap(key: KeyObject, wrapped: Buffer): Promise<Buffer | undefined> {
  const known = imported.get(key) ?? key.toCryptoKey({ name: 'RSA-OAEP', hash: 'SHA-1' }, false, ['decrypt'])
  imported.set(key, known)
  try {
    const bytes = Buffer.from(await webcrypto.subtle.decrypt({ name: 'RSA-OAEP' }, known, wrapped))
    return bytes.length === KEY_BYTES ? bytes : undefined
  } catch {
    return undefined
  }
}

/** AES-256-CBC, its IV the first half of the key: the key is used once. */
function decrypt(key: Buffer, data: Buffer): JsonObject | undefined {
  const decipher = createDecipheriv('aes-256-cbc', key, key.subarray(0, BLOCK_BYTES))
  let plain: Buffer
  try {
    plain = Buffer.concat([decipher.update(data), decipher.final()])
  } catch {
    return undefined
  }
  const reading = readHostileJson(plain)
  plain.fill(0)
  return reading.kind === 'json' && isObject(reading.value) ? reading.value : undefined
}

function textOf(content: Json, name: string): string {
  if (!isObject(content)) return ''
  const value = Object.hasOwn(content, name) ? content[name] : undefined
  return typeof value === 'string' ? value : ''
}

/** Canonical base64 only: what has two spellings could be stored twice. */
function bytesOf(content: Json, name: string): Buffer | undefined {
  const text = textOf(content, name)
  if (!BASE64.test(text)) return undefined
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? bytes : undefined
}
