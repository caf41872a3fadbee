/**
 * Graph's side of resource data for the tests of this folder, from protocols/microsoft.md §3: encrypts a resource to a
 * certificate and signs the tokens beside it.
 */
import {
  constants,
  createCipheriv,
  createHmac,
  createPrivateKey,
  type KeyObject,
  publicEncrypt,
  randomBytes,
  X509Certificate,
} from 'node:crypto'
import { newCertificate } from '../../src/microsoft/resource-data/certificate.ts'
import type { KnownSubscription, Lookup, PrivateKeyReading } from '../../src/provider.ts'
import type { Signer, TestClock } from '../loopback.ts'
import { NOTHING_KNOWN } from '../loopback.ts'

export const PUBLISHER = '0bf30f3b-4a52-48df-9a82-234910c4a086'

export interface TestCertificate {
  readonly id: string
  readonly publicKey: KeyObject
  readonly thumbprint: string
  readonly reading: PrivateKeyReading
}

const made = new Map<string, Promise<TestCertificate>>()

/** Making one takes 0.1 s: each is made once. */
export function testCertificate(id: string): Promise<TestCertificate> {
  const making =
    made.get(id) ??
    newCertificate(new Date('2026-09-20T10:00:00Z')).then(({ certificate, privateKey }) => {
      const { publicKey, fingerprint } = new X509Certificate(Buffer.from(certificate, 'base64'))
      const key = Buffer.from(privateKey.reveal(), 'base64')
      return {
        id,
        publicKey,
        thumbprint: fingerprint.replaceAll(':', ''),
        reading: {
          kind: 'key' as const,
          key: createPrivateKey({ key, format: 'der', type: 'pkcs8' }),
        },
      }
    })
  made.set(id, making)
  return making
}

/** @param more.text instead of JSON @param more.hash of the padding */
export function encrypt(
  certificate: TestCertificate,
  resource: unknown,
  more: { readonly text?: string; readonly oaepHash?: string } = {},
) {
  const key = randomBytes(32)
  const cipher = createCipheriv('aes-256-cbc', key, key.subarray(0, 16))
  const data = Buffer.concat([cipher.update(more.text ?? JSON.stringify(resource)), cipher.final()])
  const wrapped = publicEncrypt(
    {
      key: certificate.publicKey,
      padding: constants.RSA_PKCS1_OAEP_PADDING,
      oaepHash: more.oaepHash ?? 'sha1',
    },
    key,
  )
  return {
    data: data.toString('base64'),
    dataKey: wrapped.toString('base64'),
    dataSignature: createHmac('sha256', key).update(data).digest('base64'),
    encryptionCertificateId: certificate.id,
    encryptionCertificateThumbprint: certificate.thumbprint,
  }
}

/** @param version 1: `sts.windows.net` and `appid`; 2: the login host and `azp` */
export function validationToken(
  of: { readonly signer: Signer; readonly clock: TestClock; readonly loginUrl: string },
  version: 1 | 2,
  tid: string,
  claims: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  const seconds = Math.floor(of.clock.now.getTime() / 1000)
  const form =
    version === 1
      ? { iss: `https://sts.windows.net/${tid}/`, appid: PUBLISHER, appidacr: '2', ver: '1.0' }
      : { iss: `${of.loginUrl}/${tid}/v2.0`, azp: PUBLISHER, azpacr: '2', ver: '2.0' }
  return of.signer.sign({
    aud: 'client-1',
    iat: seconds,
    nbf: seconds,
    exp: seconds + 24 * 3600,
    tid,
    ...form,
    ...claims,
  })
}

/** @param certificates of each subscription, by its id */
export function lookupOf(
  known: readonly KnownSubscription[],
  certificates: Readonly<Record<string, readonly TestCertificate[]>>,
): Lookup {
  return {
    ...NOTHING_KNOWN,
    genuineRef: (ref) => known.find(({ id }) => ref === `ref-${id}`)?.id,
    byChannelSecret: async (presented) => known.find(({ id }) => presented === `state-${id}`),
    privateKey: async (subscriptionId, certificateId) =>
      certificates[subscriptionId]?.find(({ id }) => id === certificateId)?.reading ?? { kind: 'unknown' },
  }
}
