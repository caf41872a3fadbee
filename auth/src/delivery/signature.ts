/**
 * Standard Webhooks v1, symmetric: the three headers that prove a delivery. The id is the event's and stays the same
 * over all attempts; the timestamp is that of the attempt. Never logs or returns a secret.
 * Source: standardwebhooks.com specification, "Signature scheme" and "Webhook headers".
 */
import { createHmac, createSecretKey, type KeyObject, randomBytes } from 'node:crypto'
import { Secret } from '@flovify/providers'

export interface SignatureHeaders {
  readonly 'webhook-id': string
  readonly 'webhook-timestamp': string
  readonly 'webhook-signature': string
}

const PREFIX = 'whsec_'

/**
 * @param keys one, or two while one replaces the other: a signature by each, newest first
 * @param at time of the attempt; seconds are what the receiver checks against its own clock
 */
export function sign(keys: readonly KeyObject[], id: string, at: Date, body: Buffer): SignatureHeaders {
  const timestamp = Math.floor(at.getTime() / 1000).toString()
  const signatures = keys.map((key) => {
    const mac = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body)
    return `v1,${mac.digest('base64')}`
  })
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures.join(' ') }
}

/** @returns `whsec_` and 32 random bytes in base64, the form that every Standard Webhooks library reads. */
export function newSigningSecret(): Secret {
  return new Secret(PREFIX + randomBytes(32).toString('base64'))
}

/** Made once for each secret: bytes as a key are made into one anew for each signature, at five times the cost. */
export function signingKey(secret: Secret): KeyObject {
  const text = secret.reveal()
  const key = Buffer.from(text.startsWith(PREFIX) ? text.slice(PREFIX.length) : '', 'base64')
  if (key.length !== 32)
    throw Object.assign(new Error('a signing secret is not whsec_ and 32 bytes'), {
      code: 'signing_secret_malformed',
      safe: true,
    })
  return createSecretKey(key)
}
