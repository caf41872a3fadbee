/**
 * The typed client of the internal API as the holder of SERVICE_SECRET sees it, our BFF: one method for each route.
 * Services with a credential of their own use `serviceClient`. Every method throws a ConnectError for every answer that
 * is not 2xx. Keeps no state and no session: the person's session token is an argument.
 */
import { type ClientOptions, requestJson, requestText, segment } from './request.ts'
import type {
  ConnectionView,
  Disconnected,
  EventDetail,
  EventQuery,
  EventView,
  LocalDestination,
  NewRule,
  NewSession,
  Page,
  ProviderView,
  Role,
  RuleView,
  SessionProof,
  SessionView,
  SigninLink,
  SubscriptionChoice,
} from './wire.ts'
import type {
  CompletedFlow,
  ConsentLink,
  ConsentLinkRequest,
  FlowCompletion,
  FlowRequest,
  StartedFlow,
} from './wire-connecting.ts'
import type {
  DeadRetry,
  DeadRetryRequest,
  DeliveryDetail,
  DeliveryQuery,
  DestinationHealth,
  ListedDelivery,
  RetriedDelivery,
} from './wire-deliveries.ts'
import type {
  CreatedDestination,
  DestinationChange,
  DestinationTest,
  DestinationView,
  NewDestination,
  RotatedSecret,
  SecretRotation,
} from './wire-destinations.ts'

export { ConnectError } from './connect-error.ts'
export type { ClientOptions } from './request.ts'
export { type ServiceClient, serviceClient, type TokenOptions } from './service-client.ts'
export {
  type SignatureOptions,
  type SignatureRefusal,
  type SignatureVerdict,
  type SignedDelivery,
  verifySignature,
} from './verify-signature.ts'
export type { ConnectionChange, WatchOptions } from './watch-connections.ts'
export type * from './wire.ts'
export type * from './wire-connecting.ts'
export type * from './wire-deliveries.ts'
export type * from './wire-destinations.ts'

export interface Items<T> {
  readonly items: T[]
}

/** `session` is always the session token of the person for whom the call is made. */
export interface ConnectClient {
  /** Resolves when Auth and its database are ready. */
  ready(): Promise<void>
  /** Prometheus text. */
  metrics(): Promise<string>
  openApi(): Promise<unknown>

  createSigninLink(request: { email: string; role: Role }): Promise<SigninLink>
  createSession(proof: SessionProof): Promise<NewSession>
  currentSession(session: string): Promise<SessionView>
  endSession(session: string): Promise<void>

  providers(): Promise<Items<ProviderView>>
  beginConnection(request: FlowRequest): Promise<StartedFlow>
  adminConsentLink(request: ConsentLinkRequest): Promise<ConsentLink>
  /** Redeems the code at the provider: waits up to 30 s. */
  completeConnection(request: FlowCompletion): Promise<CompletedFlow>
  connections(session: string): Promise<Items<ConnectionView>>
  /** Here at once; the answer says what happens at the provider. */
  disconnect(session: string, connectionId: string): Promise<Disconnected>
  /** Switches the watching of a resource off or on, or says how often it is checked. */
  chooseSubscription(session: string, subscriptionId: string, choice: SubscriptionChoice): Promise<void>
  /** Soon; at the earliest ten minutes after its last renewal. */
  renewSubscription(session: string, subscriptionId: string): Promise<void>

  /** Newest first. */
  events(session: string, query?: EventQuery): Promise<Page<EventView>>
  event(session: string, eventId: string): Promise<EventDetail>
  /** An administrator sees what each attempt met. */
  delivery(session: string, deliveryId: string): Promise<DeliveryDetail>
  /** Administrators. Newest first by `at`. */
  deliveries(session: string, query?: DeliveryQuery): Promise<Page<ListedDelivery>>
  retryDelivery(session: string, deliveryId: string): Promise<RetriedDelivery>
  destinationHealth(session: string, destinationId: string): Promise<DestinationHealth>
  /** How many dead deliveries `retryDead` would take. */
  countDead(session: string, destinationId: string): Promise<{ count: number }>
  retryDead(session: string, destinationId: string, request: DeadRetryRequest): Promise<DeadRetry>

  destinations(session: string): Promise<Items<DestinationView>>
  createDestination(session: string, request: NewDestination): Promise<CreatedDestination>
  destination(session: string, destinationId: string): Promise<DestinationView>
  changeDestination(
    session: string,
    destinationId: string,
    change: DestinationChange,
  ): Promise<DestinationView>
  /** Holds its deliveries; nothing is lost. */
  pauseDestination(session: string, destinationId: string): Promise<DestinationView>
  /** Ends a pause, or takes a disabled one into use again. */
  resumeDestination(session: string, destinationId: string): Promise<DestinationView>
  rotateSecret(session: string, destinationId: string, rotation: SecretRotation): Promise<RotatedSecret>
  /** Waits for the receiver, 30 s at most. */
  testDestination(session: string, destinationId: string, to: 'production' | 'test'): Promise<DestinationTest>
  deleteDestination(session: string, destinationId: string): Promise<void>
  rules(session: string): Promise<Items<RuleView>>
  createRule(session: string, request: NewRule): Promise<RuleView>
  deleteRule(session: string, ruleId: string): Promise<void>
  /** Only in local mode: the bundled receiver. The same answer however often it is asked. */
  putLocalDestination(request: { url: string; name: string }): Promise<LocalDestination>
}

const EXCHANGE_DEADLINE_MS = 30_000
/** A destination's own timeout is 30 s at most. */
const TEST_DEADLINE_MS = 35_000

/** @param options where Auth is and the service token; `fetch` and the deadline can be replaced */
export function connectClient(options: ClientOptions): ConnectClient {
  // The one place where an answer gets its type: client and service are built from the same wire.ts.
  const get = async <T>(
    path: string,
    session?: string,
    query?: Record<string, string | number | undefined>,
  ) =>
    (await requestJson(options, {
      method: 'GET',
      path,
      ...(session === undefined ? {} : { session }),
      ...(query === undefined ? {} : { query }),
    })) as T
  const send = async <T>(
    method: 'POST' | 'PUT' | 'PATCH',
    path: string,
    body: unknown,
    more: SendOptions = {},
  ) => (await requestJson(options, { method, path, body, ...more })) as T
  const remove = async (path: string, session: string): Promise<void> => {
    await requestJson(options, { method: 'DELETE', path, session })
  }

  return {
    ready: async () => {
      await requestText(options, { method: 'GET', path: '/ready' })
    },
    metrics: () => requestText(options, { method: 'GET', path: '/metrics' }),
    openApi: () => get('/openapi.json'),

    createSigninLink: (request) => send('POST', '/internal/signin-links', request),
    createSession: (proof) => send('POST', '/internal/sessions', proof),
    currentSession: (session) => get('/internal/sessions/current', session),
    endSession: (session) => remove('/internal/sessions/current', session),

    providers: () => get('/internal/providers'),
    beginConnection: (request) => send('POST', '/internal/oauth/create-state', request),
    adminConsentLink: (request) => send('POST', '/internal/oauth/admin-consent', request),
    completeConnection: (request) =>
      send('POST', '/internal/oauth/complete', request, { deadlineMs: EXCHANGE_DEADLINE_MS }),
    connections: (session) => get('/internal/connections', session),
    disconnect: async (session, id) =>
      (await requestJson(options, {
        method: 'DELETE',
        path: `/internal/connections/${segment(id)}`,
        session,
      })) as Disconnected,

    chooseSubscription: async (session, id, choice) =>
      send('PATCH', `/internal/subscriptions/${segment(id)}`, choice, { session }),
    renewSubscription: async (session, id) =>
      send('POST', `/internal/subscriptions/${segment(id)}/renew`, undefined, { session }),

    events: (session, query = {}) => get('/internal/events', session, { ...query }),
    event: async (session, id) => get(`/internal/events/${segment(id)}`, session),
    delivery: async (session, id) => get(`/internal/deliveries/${segment(id)}`, session),
    deliveries: (session, query = {}) => get('/internal/deliveries', session, { ...query }),
    retryDelivery: async (session, id) =>
      send('POST', `/internal/deliveries/${segment(id)}/retry`, undefined, { session }),
    destinationHealth: async (session, id) => get(`/internal/destinations/${segment(id)}/health`, session),
    countDead: async (session, id) => get(`/internal/destinations/${segment(id)}/retry-dead`, session),
    retryDead: async (session, id, request) =>
      send('POST', `/internal/destinations/${segment(id)}/retry-dead`, request, { session }),

    destinations: (session) => get('/internal/destinations', session),
    createDestination: (session, request) => send('POST', '/internal/destinations', request, { session }),
    destination: async (session, id) => get(`/internal/destinations/${segment(id)}`, session),
    changeDestination: async (session, id, change) =>
      send('PATCH', `/internal/destinations/${segment(id)}`, change, { session }),
    pauseDestination: async (session, id) =>
      send('POST', `/internal/destinations/${segment(id)}/pause`, undefined, { session }),
    resumeDestination: async (session, id) =>
      send('POST', `/internal/destinations/${segment(id)}/resume`, undefined, { session }),
    rotateSecret: async (session, id, rotation) =>
      send('POST', `/internal/destinations/${segment(id)}/rotate-secret`, rotation, { session }),
    testDestination: async (session, id, to) =>
      send(
        'POST',
        `/internal/destinations/${segment(id)}/test`,
        { to },
        { session, deadlineMs: TEST_DEADLINE_MS },
      ),
    deleteDestination: async (session, id) => remove(`/internal/destinations/${segment(id)}`, session),
    rules: (session) => get('/internal/rules', session),
    createRule: (session, request) => send('POST', '/internal/rules', request, { session }),
    deleteRule: async (session, id) => remove(`/internal/rules/${segment(id)}`, session),
    putLocalDestination: (request) => send('PUT', '/internal/local/destination', request),
  }
}

interface SendOptions {
  readonly session?: string
  readonly deadlineMs?: number
}
