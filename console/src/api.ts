/**
 * Calls of the BFF. Every one is same-origin, carries the header that forms cannot send, and ends in data or an
 * ApiError. Keeps nothing.
 */
import type {
  ConnectionView,
  Disconnected,
  EventDetail,
  EventView,
  Page,
  ProviderView,
  SessionView,
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
