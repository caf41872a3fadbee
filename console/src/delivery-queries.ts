/** Deliveries and dead letters: what the pages know of them, and the two ways to retry. For administrators. */
import type { DeliveryQuery } from '@flovify/client/wire'
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { deliveriesApi } from './api.ts'

const LIVE_MS = 2_000
const CALM_MS = 10_000
const PAGE_SIZE = '25'

export type Filter = Omit<DeliveryQuery, 'limit' | 'cursor'>

/** Pages by cursor; what is loaded is read again as a whole, so that a state that changed is seen. */
export function useDeliveries(filter: Filter) {
  return useInfiniteQuery({
    queryKey: ['deliveries', filter],
    initialPageParam: '',
    queryFn: ({ pageParam, signal }) =>
      deliveriesApi.list(
        { ...filter, limit: PAGE_SIZE, ...(pageParam !== '' && { cursor: pageParam }) },
        signal,
      ),
    getNextPageParam: (page) => page.next_cursor,
    // older pages hold still: only the first is live
    refetchInterval: ({ state }) => ((state.data?.pages.length ?? 0) > 1 ? false : CALM_MS),
  })
}

export function useDelivery(id: string) {
  return useQuery({
    queryKey: ['delivery', id],
    queryFn: ({ signal }) => deliveriesApi.one(id, signal),
    refetchInterval: ({ state }) => (state.data?.state === 'open' ? LIVE_MS : CALM_MS),
  })
}

export function useRetry() {
  const client = useQueryClient()
  return useMutation({
    mutationFn: deliveriesApi.retry,
    onSettled: (_answer, _error, id) =>
      Promise.all([
        client.invalidateQueries({ queryKey: ['delivery', id] }),
        client.invalidateQueries({ queryKey: ['deliveries'] }),
      ]),
  })
}

export function useCountDead(destination: string) {
  return useQuery({
    queryKey: ['dead', destination],
    queryFn: ({ signal }) => deliveriesApi.countDead(destination, signal),
    refetchInterval: CALM_MS,
  })
}

/** One key for each opening of the confirmation: pressing twice is one retry. */
export function useRetryDead(destination: string) {
  const client = useQueryClient()
  return useMutation({
    mutationFn: (request: { expected_count: number; idempotency_key: string }) =>
      deliveriesApi.retryDead(destination, request),
    onSettled: () =>
      Promise.all([
        client.invalidateQueries({ queryKey: ['deliveries'] }),
        client.invalidateQueries({ queryKey: ['dead', destination] }),
        client.invalidateQueries({ queryKey: ['health', destination] }),
      ]),
  })
}
