/**
 * Calls of the BFF. Every one is same-origin, carries the header that forms cannot send, and ends in data or an
 * ApiError. Keeps nothing.
 */
import type {
  ConnectionView,
  CreatedDestination,
  DeadRetry,
  DeadRetryRequest,
  DeliveryDetail,
  DestinationChange,
  DestinationHealth,
  DestinationTest,
  DestinationView,
  Disconnected,
  EventDetail,
  EventView,
  ListedDelivery,
  NewDestination,
  Page,
  ProviderView,
  RetriedDelivery,
  RotatedSecret,
  SecretRotation,
  SessionView,
  SubscriptionChoice,
} from '@flovify/client/wire'

/** A reconnect names its connection; `scopes` are asked for on top. */
export interface Wishes {
  readonly provider: string
  readonly connection_id?: string
  readonly scopes?: readonly string[]
}

export type Session = Omit<SessionView, 'family_id'>

export class ApiError extends Error {
  /** 0: there was no answer. */
  readonly status: number
  readonly error: string
  readonly reason: string | undefined
  /** With 401 of the session: the platform's cookie could start one. */
  readonly platform: boolean

  constructor(status: number, body: Record<string, unknown>) {
    super(
      typeof body.message === 'string'
        ? body.message
        : 'The console got an answer that it does not understand.',
    )
    this.name = 'ApiError'
    this.status = status
    this.error = typeof body.error === 'string' ? body.error : 'bad_answer'
    this.reason = typeof body.reason === 'string' ? body.reason : undefined
    this.platform = body.platform === true
  }
}

const get = <T>(path: string, signal?: AbortSignal): Promise<T> => call<T>('GET', path, undefined, signal)

export const api = {
  session: (signal?: AbortSignal) => get<Session>('/bff/session', signal),
  signIn: (proof: { token: string } | { platform: true }) => call<Session>('POST', '/bff/session', proof),
  signOut: () => call<void>('DELETE', '/bff/session'),
  providers: (signal?: AbortSignal) => get<{ items: ProviderView[] }>('/bff/providers', signal),
  connections: (signal?: AbortSignal) => get<{ items: ConnectionView[] }>('/bff/connections', signal),
  disconnect: (id: string) => call<Disconnected>('DELETE', `/bff/connections/${encodeURIComponent(id)}`),
  chooseSubscription: (id: string, choice: SubscriptionChoice) =>
    call<void>('PATCH', one('subscriptions', id), choice),
  renewSubscription: (id: string) => call<void>('POST', one('subscriptions', id, '/renew')),
  connect: ({ provider, ...wishes }: Wishes) =>
    call<{ authUrl: string }>('POST', `/bff/auth/connect/${encodeURIComponent(provider)}`, wishes),
  adminLink: (provider: string) =>
    call<{ url: string; expires_at: string }>(
      'POST',
      `/bff/auth/admin-consent/${encodeURIComponent(provider)}`,
      {},
    ),
  finish: (ticket: string) => call<{ connection: ConnectionView }>('POST', '/bff/auth/finish', { ticket }),
  events: (query: Record<string, string>, signal?: AbortSignal) =>
    get<Page<EventView>>(`/bff/events?${new URLSearchParams(query)}`, signal),
  event: (id: string, signal?: AbortSignal) =>
    get<EventDetail>(`/bff/events/${encodeURIComponent(id)}`, signal),
}

const one = (place: 'deliveries' | 'destinations' | 'subscriptions', id: string, more = ''): string =>
  `/bff/${place}/${encodeURIComponent(id)}${more}`

/** Deliveries and dead letters, for administrators. */
export const deliveriesApi = {
  list: (query: Record<string, string>, signal?: AbortSignal) =>
    get<Page<ListedDelivery>>(`/bff/deliveries?${new URLSearchParams(query)}`, signal),
  one: (id: string, signal?: AbortSignal) => get<DeliveryDetail>(one('deliveries', id), signal),
  retry: (id: string) => call<RetriedDelivery>('POST', one('deliveries', id, '/retry')),
  countDead: (destination: string, signal?: AbortSignal) =>
    get<{ count: number }>(one('destinations', destination, '/retry-dead'), signal),
  retryDead: (destination: string, request: DeadRetryRequest) =>
    call<DeadRetry>('POST', one('destinations', destination, '/retry-dead'), request),
}

/** Destinations, for administrators. */
export const destinationsApi = {
  list: (signal?: AbortSignal) => get<{ items: DestinationView[] }>('/bff/destinations', signal),
  one: (id: string, signal?: AbortSignal) => get<DestinationView>(one('destinations', id), signal),
  health: (id: string, signal?: AbortSignal) =>
    get<DestinationHealth>(one('destinations', id, '/health'), signal),
  create: (request: NewDestination) => call<CreatedDestination>('POST', '/bff/destinations', request),
  change: (id: string, change: DestinationChange) =>
    call<DestinationView>('PATCH', one('destinations', id), change),
  pause: (id: string) => call<DestinationView>('POST', one('destinations', id, '/pause')),
  resume: (id: string) => call<DestinationView>('POST', one('destinations', id, '/resume')),
  remove: (id: string) => call<void>('DELETE', one('destinations', id)),
  rotate: (id: string, rotation: SecretRotation) =>
    call<RotatedSecret>('POST', one('destinations', id, '/rotate-secret'), rotation),
  test: (id: string, to: 'production' | 'test') =>
    call<DestinationTest>('POST', one('destinations', id, '/test'), { to }),
}

async function call<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const init: RequestInit = {
    method,
    credentials: 'same-origin',
    redirect: 'error',
    headers: {
      accept: 'application/json',
      'x-requested-with': 'flovify-console',
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
  }
  if (body !== undefined) init.body = JSON.stringify(body)
  if (signal !== undefined) init.signal = signal
  const response = await fetch(path, init).catch((error: unknown) => {
    if (error instanceof DOMException && error.name === 'AbortError') throw error
    throw new ApiError(0, {
      error: 'offline',
      message: 'The console cannot be reached. Check your connection.',
    })
  })
  if (response.status === 204) return undefined as T
  const answer: unknown = await response.json().catch(() => ({}))
  if (response.ok) return answer as T
  throw new ApiError(response.status, (answer ?? {}) as Record<string, unknown>)
}
