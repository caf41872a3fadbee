/** What the tests of these rooms stand on: a real database, vault and ledger, and two hand-made providers. */
import { generateKeyPairSync } from 'node:crypto'
import type {
  AuthorizationRequest,
  CodeExchange,
  ExchangeOutcome,
  Failure,
  GrantRevocation,
  Provider,
  ProviderSubscriptions,
  RefreshOutcome,
  RenewalOutcome,
  RevocationOutcome,
  SubscriptionCheck,
  SubscriptionOutcome,
  SubscriptionRenewal,
  SubscriptionRequest,
  SubscriptionStop,
} from '@flovify/providers'
import { Secret } from '@flovify/providers'
import type { BeginOutcome } from '../../src/connections/begin.ts'
import { beginFlow } from '../../src/connections/begin.ts'
import { sql } from '../../src/db/sql.ts'
import { openCallbackDoor } from '../../src/http/callback-route.ts'
import { openLedger } from '../../src/ledger/ledger.ts'
import { monotonicMs } from '../../src/platform/clock.ts'
import { sha256 } from '../../src/platform/ids.ts'
import { openLog } from '../../src/platform/log.ts'
import { openMetrics } from '../../src/platform/metrics.ts'
import { openCallPlaces } from '../../src/subscriptions/call-places.ts'
import { openLookup } from '../../src/subscriptions/lookup.ts'
import { openSubscriptions } from '../../src/subscriptions/subscriptions.ts'
import { openChannelKeys } from '../../src/vault/channel-keys.ts'
import { openKeyRing } from '../../src/vault/key-ring.ts'
import { openVault } from '../../src/vault/vault.ts'
import { testDatabase } from '../database.ts'

export const CONSOLE = 'https://console.example.com'
export const WEBHOOKS = 'https://webhooks.example.com'

export interface HandMadeProvider extends Provider {
  /** Every code that was sent to the token endpoint, in order. */
  readonly exchanged: string[]
  readonly exchanges: CodeExchange[]
  readonly urls: AuthorizationRequest[]
  readonly creates: SubscriptionRequest[]
  exchangeWith: (request: CodeExchange) => Promise<ExchangeOutcome>
  readonly renewals: SubscriptionRenewal[]
  renewWith: (request: SubscriptionRenewal) => Promise<RenewalOutcome>
  createWith: (request: SubscriptionRequest) => Promise<SubscriptionOutcome>
  endsWithGrant: boolean
  sharedByAccount: boolean
  isReplaced: boolean
  pausesWithToken: boolean
  /** Whether its pushes are to carry their content; then it makes certificates. */
  encrypts: boolean
  /** What happens while it makes one. */
  whileMaking: () => Promise<void>
  readonly checks: SubscriptionCheck[]
  checkWith: ProviderSubscriptions['check']
  discoverWith: ProviderSubscriptions['discover']
  listWith: ProviderSubscriptions['list']
  /** Set: the provider has a revocation endpoint. */
  revokeWith: ((request: GrantRevocation) => Promise<RevocationOutcome>) | undefined
  readonly revoked: string[]
  readonly stopped: SubscriptionStop[]
  stopWith: () => Promise<{ kind: 'stopped' } | { kind: 'failed'; failure: Failure }>
  refreshWith: () => Promise<RefreshOutcome>
}

export function handMadeProvider(
  id: string,
  responseMode: 'query' | 'form_post',
  issuer: { demanded: boolean } = { demanded: false },
): HandMadeProvider {
  const iss = `https://${id}.example`
  const provider: HandMadeProvider = {
    id,
    label: id,
    exchanged: [],
    exchanges: [],
    urls: [],
    creates: [],
    renewals: [],
    renewWith: async () => ({ kind: 'renewed', expiresAt: new Date(Date.now() + 7 * 24 * 3600_000) }),
    endsWithGrant: false,
    sharedByAccount: false,
    isReplaced: false,
    pausesWithToken: false,
    encrypts: false,
    whileMaking: async () => {},
    checks: [],
    checkWith: async () => ({ kind: 'checked', changed: false, cursor: 'c' }),
    discoverWith: undefined,
    listWith: undefined,
    revokeWith: undefined,
    revoked: [],
    stopped: [],
    stopWith: async () => ({ kind: 'stopped' }),
    refreshWith: async () => ({ kind: 'failed', failure: { class: 'transient', code: 'unused' } }),
    exchangeWith: async () => granted(),
    createWith: async () => ({
      kind: 'created',
      providerSubscriptionId: 'at-the-provider',
      expiresAt: new Date('2100-01-01T00:00:00Z'),
    }),
    oauth: {
      issuer: iss,
      responseMode,
      defaultScopes: ['openid', 'mail.read'],
      scopes: [
        { scope: 'mail.read', sentence: 'Read your mail.' },
        { scope: 'files.read', sentence: 'Read your files.' },
      ],
      authorizationUrl(request) {
        provider.urls.push(request)
        const url = new URL(`${iss}/authorize`)
        url.searchParams.set('state', request.state)
        url.searchParams.set('nonce', request.nonce)
        url.searchParams.set('code_challenge', request.codeChallenge)
        return url
      },
      judgeIssuer: (presented) =>
        presented === undefined ? (issuer.demanded ? 'wrong' : 'ok') : presented === iss ? 'ok' : 'wrong',
      reasonOf: (error) => (error === 'access_denied' ? 'access_denied' : 'provider_error'),
      exchange(request) {
        provider.exchanged.push(request.code.reveal())
        provider.exchanges.push(request)
        return provider.exchangeWith(request)
      },
      refresh: () => provider.refreshWith(),
      get revoke() {
        const { revokeWith } = provider
        if (revokeWith === undefined) return undefined as never
        return (request: GrantRevocation) => {
          provider.revoked.push(request.token.reveal())
          return revokeWith(request)
        }
      },
      withdrawalUrl: () => `${iss}/consents`,
    },
    webhook: {
      methods: ['POST'],
      bodyLimitBytes: 1024,
      judge: async () => ({ kind: 'rejected', status: 202, reason: 'unused' }),
    },
    subscriptions: {
      get endsWithGrant() {
        return provider.endsWithGrant
      },
      get pausesWithToken() {
        return provider.pausesWithToken
      },
      encryption: {
        wants: ({ resource, tenant, grantedScopes }) =>
          provider.encrypts &&
          resource === 'me/messages' &&
          tenant === 'tenant' &&
          grantedScopes.includes('mail.read'),
        async newCertificate() {
          await provider.whileMaking()
          const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
          return {
            certificate: publicKey.export({ type: 'spki', format: 'der' }).toString('base64'),
            privateKey: new Secret(privateKey.export({ type: 'pkcs8', format: 'der' }).toString('base64')),
          }
        },
      },
      wanted: (scopes) => (scopes.includes('mail.read') ? [{ kind: 'mail', resource: 'me/messages' }] : []),
      create(request) {
        provider.creates.push(request)
        return provider.createWith(request)
      },
      sharedByAccount: () => provider.sharedByAccount,
      isReplaced: () => provider.isReplaced,
      pushDelayMs: () => 180_000,
      check(request) {
        provider.checks.push(request)
        return provider.checkWith(request)
      },
      get discover() {
        return provider.discoverWith as never
      },
      get list() {
        return provider.listWith as never
      },
      renew(request) {
        provider.renewals.push(request)
        return provider.renewWith(request)
      },
      stop(request) {
        provider.stopped.push(request)
        return provider.stopWith()
      },
    },
  }
  return provider
}

export function granted(
  more: {
    key?: string
    label?: string
    refreshToken?: string | undefined
    accessToken?: string
    missing?: string[]
    expiresAt?: Date
  } = {},
): Extract<ExchangeOutcome, { kind: 'granted' }> {
  const refreshToken = 'refreshToken' in more ? more.refreshToken : 'refresh-1'
  return {
    kind: 'granted',
    tokens: {
      accessToken: new Secret(more.accessToken ?? 'access-1'),
      refreshToken: refreshToken === undefined ? undefined : new Secret(refreshToken),
      expiresAt: more.expiresAt ?? new Date('2100-01-01T00:00:00Z'),
      grantedScopes: ['openid', 'mail.read'].filter((scope) => more.missing?.includes(scope) !== true),
    },
    account: {
      key: more.key ?? 'tenant:bob',
      label: more.label ?? 'bob@example.com',
      address: 'bob@example.com',
      tenant: 'tenant',
    },
    missingScopes: more.missing ?? [],
  }
}

/** As the BFF derives it: another session, another binding. */
export const bindingOf = (session: string) => sha256(`binding of ${session}`).toString('base64url')

export async function openGround() {
  const t = await testDatabase()
  const lines: string[] = []
  const log = openLog({ write: (line: string) => lines.push(line) })
  const metrics = openMetrics()
  const ring = openKeyRing(new Map([['k0', Buffer.alloc(32, 7)]]), 'k0')
  const vault = openVault(ring)
  const channelKeys = openChannelKeys(ring)
  const microsoft = handMadeProvider('microsoft', 'form_post')
  const google = handMadeProvider('google', 'query')
  const strict = handMadeProvider('strict', 'query', { demanded: true })
  const providers = new Map<string, HandMadeProvider>([microsoft, google, strict].map((p) => [p.id, p]))
  const provider = (id: string) => providers.get(id)
  const revision = (
    await t.db.one<{ revision: string }>(sql`select revision::text revision from auth.rule_revision`)
  )?.revision
  const ledger = openLedger({
    rules: { current: () => ({ revision: revision ?? '1', match: () => [] }), reload: async () => {} },
    clock: { now: () => new Date() },
    naming: { typePrefix: 'ca.flovify', origin: WEBHOOKS },
  })
  const lookup = openLookup({ db: t.db, channelKeys, vault, log, monotonicMs })
  const nudged: string[] = []
  const nudge = { nudge: (kind: string) => void nudged.push(kind) }
  const subscriptions = openSubscriptions({ provider, lookup, nudge })
  const needs = {
    db: t.db,
    vault,
    ledger,
    provider,
    subscriptions,
    nudge,
    metrics,
    log,
    calls: openCallPlaces(),
    listTurn: async () => true,
    webhookOrigin: WEBHOOKS,
    consoleOrigin: CONSOLE,
  }
  const door = openCallbackDoor(needs)

  const user = async (email: string, role = 'user') => {
    const row = await t.db.one<{ id: string }>(
      sql`insert into auth.users (email, role) values (${email}, ${role}) returning id::text id`,
    )
    return row?.id ?? ''
  }
  const begin = async (userId: string, providerId = 'google', session = `session of ${userId}`) => {
    const begun: BeginOutcome = await beginFlow(needs, {
      userId,
      provider: providerId,
      sessionBinding: bindingOf(session),
    })
    if (begun.kind !== 'begun') throw new Error(begun.reason)
    return begun
  }
  /** The browser that comes back, in the way that fits the provider unless told otherwise. */
  const callback = (
    providerId: string,
    parameters: readonly (readonly [string, string])[],
    form: boolean = providers.get(providerId)?.oauth.responseMode === 'form_post',
  ) => {
    const text = new URLSearchParams(
      parameters.map(([name, value]): [string, string] => [name, value]),
    ).toString()
    return door({
      provider: providerId,
      method: form ? 'POST' : 'GET',
      query: form ? [] : parameters,
      contentType: form ? 'application/x-www-form-urlencoded' : undefined,
      body: Buffer.from(form ? text : ''),
    })
  }
  /** Begun and come back: the ticket. */
  const ticketFor = async (userId: string, providerId = 'google', code = 'code-1') => {
    const { state, flowId } = await begin(userId, providerId)
    const answer = await callback(providerId, [
      ['code', code],
      ['state', state],
    ])
    const ticket = /#ticket=(.+)$/.exec(answer.headers.location ?? '')?.[1]
    if (ticket === undefined) throw new Error(`no ticket: ${answer.status}`)
    return { ticket, flowId }
  }
  const flow = async (id: string) => {
    const row = await t.db.one<{
      status: string
      reason: string | null
      data_key: string | null
      verifier: string | null
      nonce: string | null
      code: string | null
    }>(sql`select status, reason, data_key, verifier, nonce, code from auth.oauth_states where id = ${id}`)
    if (row === undefined) throw new Error('no such flow')
    const { status, reason, ...secrets } = row
    return { status, reason, wiped: Object.values(secrets).every((value) => value === null) }
  }
  /** The service's time goes on; the service holds no lease meanwhile. */
  const wait = async (seconds: number) => {
    await t.db.rows(sql`update auth.clock_offset set offset_ms = offset_ms + ${Math.ceil(seconds * 1000)}`)
  }
  const count = async (table: 'oauth_tokens' | 'subscriptions' | 'events' | 'sessions') => {
    const rows = await t.db.rows(
      table === 'oauth_tokens'
        ? sql`select 1 from auth.oauth_tokens`
        : table === 'subscriptions'
          ? sql`select 1 from auth.subscriptions`
          : table === 'events'
            ? sql`select 1 from auth.events`
            : sql`select 1 from auth.sessions`,
    )
    return rows.length
  }
  const eventTypes = async () =>
    (await t.db.rows<{ type: string }>(sql`select type from auth.events order by seq`)).map(
      ({ type }) => type,
    )
  const audited = async (action: string) =>
    t.db.rows<{ subject: string; detail: Record<string, unknown> }>(
      sql`select subject, detail from auth.audit where action = ${action} order by id`,
    )
  const clear = async () => {
    await t.db.rows(sql`
      truncate auth.oauth_tokens, auth.oauth_states, auth.subscriptions, auth.subscription_renewals, auth.events,
               auth.event_keys, auth.audit, auth.sessions, auth.signin_links cascade`)
    await t.db.rows(sql`delete from auth.users`)
    await t.db.rows(sql`update auth.clock_offset set offset_ms = 0`)
    for (const each of providers.values()) {
      each.exchanged.length = 0
      each.exchanges.length = 0
      each.creates.length = 0
      each.renewals.length = 0
      each.urls.length = 0
      const fresh = handMadeProvider(each.id, each.oauth.responseMode)
      each.exchangeWith = fresh.exchangeWith
      each.createWith = fresh.createWith
      each.renewWith = fresh.renewWith
      each.stopWith = fresh.stopWith
      each.refreshWith = fresh.refreshWith
      each.pausesWithToken = false
      each.encrypts = false
      each.whileMaking = fresh.whileMaking
      each.revokeWith = undefined
      each.revoked.length = 0
      each.stopped.length = 0
      each.checks.length = 0
    }
    nudged.length = 0
    lines.length = 0
  }
  return {
    ...needs,
    needs,
    url: t.url,
    close: t.close,
    microsoft,
    google,
    strict,
    channelKeys,
    lookup,
    nudged,
    lines,
    door,
    user,
    begin,
    callback,
    ticketFor,
    flow,
    wait,
    count,
    eventTypes,
    audited,
    clear,
  }
}

export type Ground = Awaited<ReturnType<typeof openGround>>
