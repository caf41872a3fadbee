/**
 * The part of the provider contract that is about pushes which carry the changed thing: encrypted to a certificate that the
 * provider was given with the subscription. Types only.
 */
import type { Secret } from './secret.ts'

export interface SubscriptionEncryption {
  /** Whether pushes of this one should carry the changed thing. */
  wants(of: {
    readonly resource: string
    readonly tenant: string | undefined
    readonly grantedScopes: readonly string[]
  }): boolean
  /** A new key pair; whoever asked for it keeps the private key sealed. */
  newCertificate(): Promise<NewCertificate>
}

export interface NewCertificate {
  /** X.509, DER, base64: the public half. */
  readonly certificate: string
  /** PKCS #8, DER, base64. */
  readonly privateKey: Secret
}

/** The certificate to encrypt to from now on. */
export interface Encryption {
  readonly certificateId: string
  readonly certificate: string
}
