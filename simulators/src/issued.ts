/**
 * Makes every secret that the simulators hand out, with the canary in front, and remembers it for the
 * search for leaks. It never forgets one while the process lives, and never writes one to a log.
 */
import { randomBytes } from 'node:crypto'

export type SecretKind =
  | 'authorization_code'
  | 'access_token'
  | 'refresh_token'
  | 'id_token'
  | 'pubsub_token'
  | 'security_event'
  | 'validation_token'

export interface IssuedSecret {
  provider: string
  kind: SecretKind
  value: string
  issuedAt: string
}

export interface Issuer {
  /** A new secret: canary, the provider's own mark, then 256 random bits. */
  mint(provider: string, kind: SecretKind, mark: string): string
  /** Notes a secret of another form: a JWT, which cannot begin with a canary. */
  note(provider: string, kind: SecretKind, value: string): void
  list(): readonly IssuedSecret[]
}

export function createIssuer(canary: string, now: () => number): Issuer {
  const issued: IssuedSecret[] = []
  const note = (provider: string, kind: SecretKind, value: string) => {
    issued.push({ provider, kind, value, issuedAt: new Date(now()).toISOString() })
  }
  return {
    mint(provider, kind, mark) {
      const value = `${canary}${mark}${randomBytes(32).toString('base64url')}`
      note(provider, kind, value)
      return value
    },
    note,
    list: () => issued,
  }
}
