/**
 * What the parts of the Microsoft simulator share: settings, stores, keys, switches, and the meaning of a
 * tenant segment. It serves nothing by itself.
 */
import {
  createMailboxes,
  type Mailbox,
  type MicrosoftAccount,
  microsoftAccounts,
  personalTenant,
  tenantDomains,
} from '../accounts.ts'
import { type CodeStore, createCodeStore } from '../codes.ts'
import { type Collection, createCollections } from '../collection.ts'
import { createDownloads, type Downloads } from '../downloads.ts'
import { type Faults, noFaults } from '../faults.ts'
import type { Issuer } from '../issued.ts'
import { createJournal, type Journal } from '../journal.ts'
import { createKeyRing, type KeyRing } from '../keys.ts'
import type { MicrosoftOptions } from '../options.ts'
import { createPostman, type Postman } from '../postman.ts'
import { createPendingRequests, type Decision, type PendingRequests } from '../provider.ts'
import { createTokenStore, type TokenStore } from '../tokens.ts'
import type { AdminConsentRequest } from './admin-consent.ts'
import type { AuthorizationRequest } from './authorization.ts'
import type { HeldParcel } from './delivery.ts'
import { createEndpointStates, type EndpointStates } from './endpoint-state.ts'
import type { Subscription } from './subscription.ts'

/** Placeholder for the origin in a key's issuer, known only once the port is. */
export const templateIssuer = '{tenantid}'

export interface MicrosoftWorld {
  options: MicrosoftOptions
  /** Set as soon as the server listens. */
  origin: string
  now(): number
  log(line: string): void
  issuer: Issuer
  faults: Faults
  journal: Journal
  postman: Postman
  keys: KeyRing
  codes: CodeStore
  tokens: TokenStore
  pending: PendingRequests<AuthorizationRequest>
  pendingAdmin: PendingRequests<AdminConsentRequest>
  /** Decisions of the next people who come by browser, made before. */
  choices: Decision[]
  /** What an account has consented to: the scope as it was asked, by its lower-case form. */
  consents: Map<string, Map<string, string>>
  /** What an administrator has consented to for a whole tenant: lower-case, `.default` for everything. */
  tenantConsents: Map<string, Set<string>>
  mailboxes: Map<string, Mailbox>
  drives: Map<string, Collection>
  calendars: Map<string, Collection>
  downloads: Downloads
  subscriptions: Map<string, Subscription>
  /** Ids of subscriptions that live, and of whose changes nobody is told. */
  muted: Set<string>
  endpoints: EndpointStates
  held: HeldParcel[]
}

export interface WorldParts {
  now(): number
  log(line: string): void
  issuer: Issuer
}

export async function createMicrosoftWorld(
  options: MicrosoftOptions,
  parts: WorldParts,
): Promise<MicrosoftWorld> {
  const { now, log, issuer } = parts
  const journal = createJournal()
  const faults = noFaults('off')
  return {
    options,
    origin: '',
    now,
    log,
    issuer,
    journal,
    faults,
    postman: createPostman(journal, now, log, () => faults.losePushes),
    keys: await createKeyRing([templateIssuer, personalTenant]),
    codes: createCodeStore(() => issuer.mint('microsoft', 'authorization_code', '1.A'), now),
    tokens: createTokenStore(
      {
        access: () => issuer.mint('microsoft', 'access_token', 'EwB'),
        refresh: () => issuer.mint('microsoft', 'refresh_token', '0.AX'),
      },
      now,
    ),
    pending: createPendingRequests(now),
    pendingAdmin: createPendingRequests(now),
    choices: [],
    consents: new Map(),
    tenantConsents: new Map(),
    mailboxes: createMailboxes(microsoftAccounts),
    drives: createCollections(microsoftAccounts),
    calendars: createCollections(microsoftAccounts),
    downloads: createDownloads(now),
    subscriptions: new Map(),
    muted: new Set(),
    endpoints: createEndpointStates(faults, now),
    held: [],
  }
}

/** The tenant segment of a URL: who may sign in there, and whose issuer it is (protocols/microsoft.md §1.1). */
export interface Tenant {
  segment: string
  /** `null` for `common` and `organizations`, whose issuer is the `{tenantid}` template. */
  tid: string | null
  admits(account: MicrosoftAccount): boolean
}

export function findTenant(segment: string): Tenant | null {
  if (segment === 'common') return { segment, tid: null, admits: () => true }
  if (segment === 'organizations') {
    return { segment, tid: null, admits: (account) => account.tid !== personalTenant }
  }
  const named =
    segment === 'consumers' ? personalTenant : (tenantDomains.get(segment) ?? segment.toLowerCase())
  if (!microsoftAccounts.some((account) => account.tid === named)) return null
  return { segment, tid: named, admits: (account) => account.tid === named }
}

export function findMicrosoftAccount(email: string): MicrosoftAccount | undefined {
  return microsoftAccounts.find((account) => account.email === email.toLowerCase())
}

export function mailboxOf(world: MicrosoftWorld, account: string): Mailbox {
  const mailbox = world.mailboxes.get(account)
  if (mailbox === undefined) throw Object.assign(new Error('no such mailbox'), { code: 'no_mailbox' })
  return mailbox
}
