/**
 * What the control API and the start need of a simulated provider, whichever it is. Types only, and the
 * store of authorization requests that wait for a person.
 */
import { randomBytes } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import type { Mail } from './accounts.ts'
import type { Change, ChangeOrder } from './collection.ts'
import type { Faults } from './faults.ts'
import type { Journal } from './journal.ts'
import type { FirstAttempt, Postman } from './postman.ts'

/** The request with which a browser would come back to the application. */
export type Callback =
  | { method: 'GET'; url: string }
  | { method: 'POST'; url: string; contentType: string; body: string }

/** What a person decided on the consent page. `scopes: null` grants all that was asked. */
export interface Decision {
  account: string
  scopes: string[] | null
  deny: boolean
}

export type Authorization =
  | { kind: 'callback'; callback: Callback; fields: readonly (readonly [string, string])[] }
  | { kind: 'dead_end'; status: number; title: string; detail: string }

export interface FailureRow {
  row: string
  class: string
  status: number
  error: string | null
}

export interface MintedTokens {
  access_token: string
  refresh_token: string
  expires_in: number
  scope: string
}

export interface PushOrder {
  account: string
  repeat: number
  delayMs: number
  forge: string | null
}

export type PushOutcome =
  | { kind: 'sent'; pushes: FirstAttempt[] }
  | { kind: 'scheduled'; deliveryIds: string[] }
  | { kind: 'refused'; reason: string }

export type ChangeOutcome =
  | { kind: 'changed'; change: Change; pushes: FirstAttempt[] }
  | { kind: 'refused'; reason: string }

export interface Provider {
  name: 'microsoft' | 'google'
  url: string
  server: FastifyInstance
  faults: Faults
  journal: Journal
  postman: Postman
  /** Decides an authorization URL as a person would, without a browser. */
  authorize(url: URL, decision: Decision): Authorization
  /** Whom an authorization URL hints at, or the first account. */
  hinted(url: URL): string
  /** Decides for the next person who comes by browser, instead of showing the page. */
  choose(decision: Decision): void
  /** Tokens as after a consent, without one; they count for no limit. */
  mint(account: string, scopes: string[], count: number): MintedTokens[]
  /** Names of the rows that the `tokenFault` switch takes. */
  failureRows: readonly FailureRow[]
  hasAccount(account: string): boolean
  receiveMail(account: string, subject: string): Promise<{ mail: Mail; pushes: FirstAttempt[] }>
  /** A file or an event is made, changed or removed, and whoever watches is told. */
  change(account: string, what: 'file' | 'event', order: ChangeOrder): Promise<ChangeOutcome>
  push(order: PushOrder): Promise<PushOutcome>
  mailbox(account: string): unknown
  /** Every token of the account is dead at once. */
  revoke(account: string): void
  /** A subscription is gone, and nobody is told. @returns false for an unknown one */
  lose(id: string): boolean
  /** A subscription lives on, and is told of no change any more. @returns false for an unknown one */
  mute(id: string): boolean
  /** The person withdraws the consent, with the effect that the provider documents. */
  withdraw(account: string): void
  rotateKeys(drop: boolean): Promise<void>
  resetFaults(): void
  /** Leases that are alive, for `/state`. */
  leases(): Record<string, unknown>
}

const pendingLifetimeMs = 600_000

export interface PendingRequests<Request> {
  add(request: Request): string
  find(id: string): Request | null
}

/** Requests whose consent page is open: found again by an unguessable id, for ten minutes. */
export function createPendingRequests<Request>(now: () => number): PendingRequests<Request> {
  const pending = new Map<string, { request: Request; expiresAt: number }>()
  return {
    add(request) {
      for (const [id, entry] of pending) if (entry.expiresAt <= now()) pending.delete(id)
      const id = randomBytes(24).toString('base64url')
      pending.set(id, { request, expiresAt: now() + pendingLifetimeMs })
      return id
    },
    find(id) {
      const entry = pending.get(id)
      return entry !== undefined && entry.expiresAt > now() ? entry.request : null
    },
  }
}
