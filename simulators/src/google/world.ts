/**
 * What the parts of the Google simulator share: settings, stores, keys, switches, consents, mailboxes with
 * their history. It serves nothing by itself.
 */
import { randomInt } from 'node:crypto'
import { createMailboxes, type GoogleAccount, googleAccounts, type Mailbox } from '../accounts.ts'
import { type CodeStore, createCodeStore } from '../codes.ts'
import { type Collection, createCollections } from '../collection.ts'
import { type Faults, noFaults } from '../faults.ts'
import type { Issuer } from '../issued.ts'
import { createJournal, type Journal } from '../journal.ts'
import { createKeyRing, type KeyRing } from '../keys.ts'
import type { GoogleOptions } from '../options.ts'
import { createPostman, type Postman } from '../postman.ts'
import { createPendingRequests, type Decision, type PendingRequests } from '../provider.ts'
import { createTokenStore, type TokenStore } from '../tokens.ts'
import type { AuthorizationRequest } from './authorization.ts'
import type { Channel } from './channel.ts'

export interface HistoryRecord {
  id: bigint
  messageId: string
}

export interface GmailHistory {
  /** Increases, with gaps, for as long as the process lives. */
  current: bigint
  records: HistoryRecord[]
}

export interface Watch {
  topic: string
  labelIds: string[]
  exclude: boolean
  expiresAt: number
}

export interface GoogleWorld {
  options: GoogleOptions
  /** Set as soon as the server listens; also the issuer of every token. */
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
  /** Decisions of the next people who come by browser, made before. */
  choices: Decision[]
  /** What an account has granted to the project. */
  grants: Map<string, Set<string>>
  mailboxes: Map<string, Mailbox>
  histories: Map<string, GmailHistory>
  watches: Map<string, Watch>
  drives: Map<string, Collection>
  calendars: Map<string, Collection>
  /** All that were ever opened: an id can not be used again. */
  channels: Map<string, Channel>
  resourceIds: Map<string, string>
  /** Ids of channels that live, and of whose changes nobody is told. */
  muted: Set<string>
}

export interface WorldParts {
  now(): number
  log(line: string): void
  issuer: Issuer
}

export async function createGoogleWorld(options: GoogleOptions, parts: WorldParts): Promise<GoogleWorld> {
  const { now, log, issuer } = parts
  const journal = createJournal()
  const faults = noFaults('on')
  return {
    options,
    origin: '',
    now,
    log,
    issuer,
    journal,
    faults,
    postman: createPostman(journal, now, log, () => faults.losePushes),
    keys: await createKeyRing([null]),
    codes: createCodeStore(() => issuer.mint('google', 'authorization_code', '4/0A'), now),
    tokens: createTokenStore(
      {
        access: () => issuer.mint('google', 'access_token', 'ya29.'),
        refresh: () => issuer.mint('google', 'refresh_token', '1//0'),
      },
      now,
    ),
    pending: createPendingRequests(now),
    choices: [],
    grants: new Map(),
    mailboxes: createMailboxes(googleAccounts),
    histories: new Map(googleAccounts.map(({ email }) => [email, { current: 1_000n, records: [] }])),
    watches: new Map(),
    drives: createCollections(googleAccounts),
    calendars: createCollections(googleAccounts),
    channels: new Map(),
    resourceIds: new Map(),
    muted: new Set(),
  }
}

/** By e-mail or `sub`, as `login_hint` allows. */
export function findGoogleAccount(name: string): GoogleAccount | undefined {
  return googleAccounts.find((account) => account.email === name.toLowerCase() || account.sub === name)
}

export function mailboxOf(world: GoogleWorld, account: string): Mailbox {
  const mailbox = world.mailboxes.get(account)
  if (mailbox === undefined) throw Object.assign(new Error('no such mailbox'), { code: 'no_mailbox' })
  return mailbox
}

export function historyOf(world: GoogleWorld, account: string): GmailHistory {
  const history = world.histories.get(account)
  if (history === undefined) throw Object.assign(new Error('no such mailbox'), { code: 'no_mailbox' })
  return history
}

/** The next history id, one to nine above the last. */
export function advance(history: GmailHistory): bigint {
  history.current += BigInt(randomInt(1, 10))
  return history.current
}

export function liveWatch(world: GoogleWorld, account: string): Watch | null {
  const watch = world.watches.get(account)
  return watch !== undefined && watch.expiresAt > world.now() ? watch : null
}
