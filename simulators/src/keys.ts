/**
 * A provider's signing keys: publish, rotate, sign, and on request sign wrongly, so that a verifier can be
 * seen to refuse. Private keys live in memory only and leave it never.
 */
import { createHmac, randomBytes } from 'node:crypto'
import { type CryptoKey, exportJWK, exportSPKI, generateKeyPair, type JWK, SignJWT } from 'jose'

export interface SigningKey {
  kid: string
  privateKey: CryptoKey
  publicKey: CryptoKey
  jwk: JWK
  /** Microsoft names the issuer that a key may sign for (protocols/microsoft.md §1.1). */
  issuer: string | null
}

/** How a token is to be spoilt; nothing given means a good one. */
export interface Spoilt {
  /** `none`: no signature. `HS256`: an HMAC with the public key as its secret. */
  alg?: 'none' | 'HS256' | undefined
  kid?: string | undefined
  /** Signed by a key that was never published, under the kid of the published one. */
  foreignKey?: boolean | undefined
}

/** The forgeries of a signature that pushes and security events share, by name; others spoil nothing here. */
export function spoiltBy(forge: string | null): Spoilt {
  if (forge === 'algNone') return { alg: 'none' }
  if (forge === 'HS256') return { alg: 'HS256' }
  if (forge === 'kid') return { kid: '0'.repeat(40), foreignKey: true }
  return forge === 'key' ? { foreignKey: true } : {}
}

export interface KeyRing {
  published(): readonly SigningKey[]
  /** New keys sign from now on; the old ones stay published unless `drop`. */
  rotate(drop: boolean): Promise<void>
  sign(claims: Record<string, unknown>, issuer?: string | null, spoilt?: Spoilt): Promise<string>
}

/** One key per issuer named; the newest of an issuer signs. RS256, 2048 bits, as both providers do. */
export async function createKeyRing(issuers: readonly (string | null)[]): Promise<KeyRing> {
  let keys = await Promise.all(issuers.map(createKey))
  return {
    published: () => keys,
    async rotate(drop) {
      const fresh = await Promise.all(issuers.map(createKey))
      keys = drop ? fresh : [...fresh, ...keys]
    },
    async sign(claims, issuer = null, spoilt = {}) {
      const key = keys.find((candidate) => candidate.issuer === issuer)
      if (key === undefined) throw Object.assign(new Error('no key for issuer'), { code: 'no_signing_key' })
      const kid = spoilt.kid ?? key.kid
      if (spoilt.alg === 'none') return unsigned(claims, { alg: 'none', typ: 'JWT', kid })
      if (spoilt.alg === 'HS256') return hmacSigned(claims, key, kid)
      const signer = spoilt.foreignKey ? (await createKey(issuer)).privateKey : key.privateKey
      return new SignJWT(claims).setProtectedHeader({ alg: 'RS256', typ: 'JWT', kid }).sign(signer)
    },
  }
}

async function createKey(issuer: string | null): Promise<SigningKey> {
  const { publicKey, privateKey } = await generateKeyPair('RS256', { extractable: true })
  const kid = randomBytes(20).toString('hex')
  const jwk = await exportJWK(publicKey)
  return { kid, publicKey, privateKey, issuer, jwk: { ...jwk, kid, use: 'sig' } }
}

function unsigned(claims: Record<string, unknown>, header: Record<string, unknown>): string {
  return `${part(header)}.${part(claims)}.`
}

/** The classical confusion of algorithms: the published PEM used as an HMAC secret. */
async function hmacSigned(claims: Record<string, unknown>, key: SigningKey, kid: string): Promise<string> {
  const input = `${part({ alg: 'HS256', typ: 'JWT', kid })}.${part(claims)}`
  const secret = await exportSPKI(key.publicKey)
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
}

function part(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}
