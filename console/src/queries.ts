/**
 * What the pages know and how fresh it is. A 401 anywhere ends the session here too. Polling stops while the page is
 * hidden (TanStack Query does that unless told otherwise) and goes on when it is seen again.
 */
import type { ConnectionView, SubscriptionChoice } from '@flovify/client/wire'
import { QueryCache, QueryClient, useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { ApiError, api, type Session, type Wishes } from './api.ts'
import { type Feed, mergeNewer, pollAfter } from './event-feed.ts'

const LIVE_MS = 2_000
const CALM_MS = 20_000
export const PAGE_SIZE = 25
const POLL_SIZE = 50

export function makeQueryClient(): QueryClient {
  const client: QueryClient = new QueryClient({
    queryCache: new QueryCache({
      onError: (error, query) => {
        if (query.queryKey[0] !== 'session' && isSignedOut(error)) signedOut(client)
      },
    }),
    defaultOptions: {
      queries: {
        retry: (count, error) =>
          count < 1 && !(error instanceof ApiError && error.status >= 400 && error.status < 500),
        staleTime: 1_000,
      },
      mutations: { retry: false },
    },
  })
  return client
}

export const isSignedOut = (error: unknown): boolean => error instanceof ApiError && error.status === 401

export type Presence =
  | { readonly kind: 'signed_in'; readonly session: Session }
  | { readonly kind: 'signed_out'; readonly platform: boolean }

export function useSession() {
  return useQuery({
    queryKey: ['session'],
    queryFn: async ({ signal }): Promise<Presence> => {
      try {
        return { kind: 'signed_in', session: await api.session(signal) }
      } catch (error) {
        if (error instanceof ApiError && error.status === 401)
          return { kind: 'signed_out', platform: error.platform }
        throw error
      }
    },
    staleTime: 60_000,
  })
}

/** Forgets everything that belonged to the person, and asks again who is there. */
export function signedOut(client: QueryClient): void {
  client.removeQueries({ predicate: (query) => query.queryKey[0] !== 'session' })
  void client.invalidateQueries({ queryKey: ['session'] })
}

export function useSignOut() {
  const client = useQueryClient()
  return useMutation({ mutationFn: api.signOut, onSuccess: () => signedOut(client) })
}

export function useSignIn() {
  const client = useQueryClient()
  return useMutation({
    mutationFn: api.signIn,
    onSuccess: (session) => {
      const presence: Presence = { kind: 'signed_in', session }
      client.setQueryData(['session'], presence)
    },
  })
}

export function useProviders() {
  return useQuery({
    queryKey: ['providers'],
    queryFn: async ({ signal }) => (await api.providers(signal)).items,
    staleTime: 300_000,
  })
}

export function useConnections() {
  return useQuery({
    queryKey: ['connections'],
    queryFn: async ({ signal }) => (await api.connections(signal)).items,
    refetchInterval: ({ state }) => (state.data?.some(isSettling) ? LIVE_MS : CALM_MS),
  })
}

const isSettling = (connection: ConnectionView): boolean =>
  connection.status === 'revoking' || connection.subscriptions.some(({ state }) => state === 'wanted')

export function useDisconnect() {
  const client = useQueryClient()
  return useMutation({
    mutationFn: api.disconnect,
    onSettled: () => client.invalidateQueries({ queryKey: ['connections'] }),
  })
}

/** What a person may do about one subscription. The list is read again a little later too: a due row does it. */
export function useSubscription(id: string) {
  const client = useQueryClient()
  const onSettled = () => client.invalidateQueries({ queryKey: ['connections'] })
  return {
    renew: useMutation({ mutationFn: () => api.renewSubscription(id), onSettled }),
    choose: useMutation({
      mutationFn: (choice: SubscriptionChoice) => api.chooseSubscription(id, choice),
      onSettled,
    }),
  }
}

export function useConnect() {
  return useMutation({
    mutationFn: async (wishes: Wishes) => {
      const { authUrl } = await api.connect(wishes)
      // The only address that the page ever goes to on its own: nothing but http(s) may come out of it.
      const { protocol, href } = new URL(authUrl)
      if (protocol !== 'https:' && protocol !== 'http:') throw new ApiError(502, {})
      window.location.assign(href)
    },
  })
}

export function useAdminLink() {
  return useMutation({ mutationFn: api.adminLink })
}

export function useFinish() {
  const client = useQueryClient()
  return useMutation({
    mutationFn: api.finish,
    onSettled: () => client.invalidateQueries({ queryKey: ['connections'] }),
  })
}

/** The live list: asks for what is newer than the oldest event that may still change. */
export function useEventFeed() {
  const client = useQueryClient()
  return useQuery({
    queryKey: ['events'],
    queryFn: async ({ signal }): Promise<Feed> => {
      const known = client.getQueryData<Feed>(['events'])
      const after = pollAfter(known)
      const newer =
        after === undefined
          ? undefined
          : await api.events({ after, limit: String(POLL_SIZE) }, signal).catch(ifGone)
      // More than one page of news, or the place to continue from is gone: begin again at the top.
      const page =
        newer === undefined || newer.next_cursor !== undefined
          ? { kind: 'top' as const, page: await api.events({ limit: String(PAGE_SIZE) }, signal) }
          : { kind: 'newer' as const, page: newer }
      // Read again: older events may have been loaded meanwhile.
      return mergeNewer(client.getQueryData<Feed>(['events']), page)
    },
    refetchInterval: LIVE_MS,
    retry: false,
  })
}

function ifGone(error: unknown): undefined {
  if (error instanceof ApiError && (error.status === 400 || error.status === 404)) return undefined
  throw error
}

export function useOlderEvents() {
  const client = useQueryClient()
  return useMutation({
    mutationFn: (cursor: string) => api.events({ cursor, limit: String(PAGE_SIZE) }),
    onSuccess: (page) =>
      client.setQueryData<Feed>(['events'], (feed) => {
        if (feed === undefined) return feed
        const known = new Set(feed.items.map(({ id }) => id))
        const older = page.items.filter(({ id }) => !known.has(id))
        return { ...feed, items: [...feed.items, ...older], older: page.next_cursor }
      }),
  })
}

export function useEvent(id: string) {
  return useQuery({
    queryKey: ['event', id],
    queryFn: ({ signal }) => api.event(id, signal),
    refetchInterval: ({ state }) =>
      state.data?.deliveries.some((one) => one.state === 'open') ? LIVE_MS : CALM_MS,
  })
}
