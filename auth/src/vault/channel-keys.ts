/**
 * Authenticated references: the `ref` in a notification URL and the secret that a provider echoes (clientState, channel
 * token). Both carry a key id and a MAC, so that a forgery dies without a query. Of a channel secret only the SHA-256
 * is stored; of a ref nothing is. Length limits: Graph's clientState 128, Google's channel token 256 characters.
 */
import { createHmac, createSecretKey, type KeyObject, randomBytes } from 'node:crypto'
import { Secret } from '@flovify/providers'
import { isId, type SubscriptionId, sameBytes } from '../platform/ids.ts'
import type { KeyRing } from './key-ring.ts'

export interface ChannelKeys {
  /** The ring key that mints now; stored with what it minted. */
  readonly keyId: string
  /** `sub_….<key id>.<mac>` */
  mintRef(subscriptionId: SubscriptionId): string
  /** @returns the subscription id, or undefined for anything that we did not make */
  genuineRef(ref: string): SubscriptionId | undefined
  /** `<128 random bits>.<key id>.<256-bit mac>`, under 90 characters */
  mintChannelSecret(): Secret
  genuineChannelSecret(presented: string): boolean
}

const FORM = /^([A-Za-z0-9_-]{22}|sub_[a-z2-7]{26})\.([a-z0-9]{1,16})\.([A-Za-z0-9_-]{43})$/

export function openChannelKeys(ring: KeyRing): ChannelKeys {
  // A KeyObject is made once for each key: made anew for each request it was 12 % of the door's CPU (profiled).
  const keyObjects = new Map<string, KeyObject>()
  const keyFor = (purpose: 'ref' | 'channel', keyId: string): KeyObject => {
    const name = `${purpose}/${keyId}`
    const known = keyObjects.get(name)
    if (known !== undefined) return known
    const key = createSecretKey(ring.derive(keyId, `${purpose}/v1`))
    keyObjects.set(name, key)
    return key
  }
  const mac = (purpose: 'ref' | 'channel', keyId: string, text: string) =>
    createHmac('sha256', keyFor(purpose, keyId)).update(`${purpose}.${keyId}.${text}`).digest()
  const mint = (purpose: 'ref' | 'channel', text: string) => {
    const keyId = ring.primaryId
    return `${text}.${keyId}.${mac(purpose, keyId, text).toString('base64url')}`
  }
  const check = (purpose: 'ref' | 'channel', presented: string): string | undefined => {
    const [, text, keyId, given] = FORM.exec(presented) ?? []
    if (text === undefined || keyId === undefined || given === undefined || !ring.has(keyId)) return undefined
    // the text is compared, not what it decodes to: the last character of base64url has bits that decoding ignores
    return sameBytes(Buffer.from(mac(purpose, keyId, text).toString('base64url')), Buffer.from(given))
      ? text
      : undefined
  }
  return {
    get keyId() {
      return ring.primaryId
    },
    mintRef: (subscriptionId) => mint('ref', subscriptionId),
    genuineRef(ref) {
      const text = check('ref', ref)
      return text !== undefined && isId('sub', text) ? text : undefined
    },
    mintChannelSecret: () => new Secret(mint('channel', randomBytes(16).toString('base64url'))),
    genuineChannelSecret: (presented) => check('channel', presented) !== undefined,
  }
}
