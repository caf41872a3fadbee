/** Destinations: what the pages know of them, their health, and what can be done to them. For administrators. */
import type { DestinationChange, DestinationView, NewDestination, SecretRotation } from '@flovify/client/wire'
import { type QueryClient, useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { destinationsApi } from './api.ts'

const LIVE_MS = 5_000
const CALM_MS = 20_000

export function useDestinations() {
  return useQuery({
    queryKey: ['destinations'],
    queryFn: async ({ signal }) => (await destinationsApi.list(signal)).items,
    refetchInterval: CALM_MS,
  })
}

export function useDestination(id: string) {
  return useQuery({
    queryKey: ['destination', id],
    queryFn: ({ signal }) => destinationsApi.one(id, signal),
    refetchInterval: CALM_MS,
  })
}

export function useHealth(id: string) {
  return useQuery({
    queryKey: ['health', id],
    queryFn: ({ signal }) => destinationsApi.health(id, signal),
    refetchInterval: LIVE_MS,
  })
}

/** The list, the one and its health are read again. */
async function changed(client: QueryClient, id: string | undefined, now?: DestinationView): Promise<void> {
  if (now !== undefined) client.setQueryData(['destination', now.id], now)
  await Promise.all([
    client.invalidateQueries({ queryKey: ['destinations'] }),
    client.invalidateQueries({ queryKey: ['destination', id] }),
    client.invalidateQueries({ queryKey: ['health', id] }),
  ])
}

export function useCreate() {
  const client = useQueryClient()
  return useMutation({
    mutationFn: (request: NewDestination) => destinationsApi.create(request),
    onSuccess: (made) => changed(client, made.id),
  })
}

export function useChange(id: string) {
  const client = useQueryClient()
  return useMutation({
    mutationFn: (change: DestinationChange) => destinationsApi.change(id, change),
    onSuccess: (now) => changed(client, id, now),
  })
}

/** `pause` and `resume`, which also takes a disabled one into use again. */
export function useFlow(id: string) {
  const client = useQueryClient()
  return useMutation({
    mutationFn: (to: 'pause' | 'resume') => destinationsApi[to](id),
    onSuccess: (now) => changed(client, id, now),
  })
}

export function useRemove(id: string) {
  const client = useQueryClient()
  return useMutation({
    mutationFn: () => destinationsApi.remove(id),
    onSuccess: async () => {
      client.removeQueries({ queryKey: ['destination', id] })
      client.removeQueries({ queryKey: ['health', id] })
      await client.invalidateQueries({ queryKey: ['destinations'] })
    },
  })
}

export function useRotate(id: string) {
  const client = useQueryClient()
  return useMutation({
    mutationFn: (rotation: SecretRotation) => destinationsApi.rotate(id, rotation),
    // refused because of a rotation that this page did not know of: it shows that one then
    onSettled: () => changed(client, id),
  })
}

export function useTest(id: string) {
  return useMutation({ mutationFn: (to: 'production' | 'test') => destinationsApi.test(id, to) })
}
