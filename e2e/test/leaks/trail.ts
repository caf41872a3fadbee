/**
 * What a run leaves behind outside the system: every secret that it came to know, and every answer it got, without the
 * few places that are made to carry a secret (a sign-in link, an authorization URL, the ticket in `Location`, a cookie).
 */
import { randomBytes } from 'node:crypto'
import type { Canary } from '../../src/canaries.ts'

export interface Reply {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

export interface Trail {
  readonly secrets: readonly Canary[]
  readonly answers: readonly { readonly name: string; readonly bytes: Buffer }[]
  /** Notes a secret and gives it back. */
  secret(name: string, value: string): string
  /** A made-up secret, noted. */
  made(name: string): string
  /** Sends a request and keeps the answer, unless it carries a secret by its purpose. */
  ask(url: string, request?: Ask): Promise<Reply>
}

export interface Ask extends RequestInit {
  readonly carries?: 'a secret'
}

export function openTrail(): Trail {
  const secrets: Canary[] = []
  const answers: { name: string; bytes: Buffer }[] = []
  const secret = (name: string, value: string) => {
    secrets.push({ name, value })
    return value
  }
  return {
    secrets,
    answers,
    secret,
    made: (name) => secret(name, `CANARY-${randomBytes(32).toString('base64url')}`),
    async ask(url, request = {}) {
      const { carries, ...init } = request
      const response = await fetch(url, { redirect: 'manual', signal: AbortSignal.timeout(20_000), ...init })
      const text = await response.text()
      if (carries === undefined) {
        const head = [...response.headers].filter(([name, value]) => !isCarrier(name, value))
        const lines = head.map(([name, value]) => `${name}: ${value}`).join('\n')
        const { pathname } = new URL(url)
        answers.push({
          name: `answer ${response.status} to ${init.method ?? 'GET'} ${pathname.slice(0, 40)}`,
          bytes: Buffer.from(`${response.status}\n${lines}\n\n${text}`),
        })
      }
      return { status: response.status, headers: response.headers, text }
    },
  }
}

/** A cookie is a secret by its purpose, and so is the ticket in the redirect to the success page. */
const isCarrier = (name: string, value: string): boolean =>
  name === 'set-cookie' || (name === 'location' && value.includes('/auth/success?'))
