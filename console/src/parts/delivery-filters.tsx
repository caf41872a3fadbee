/** The filters of the list of deliveries. They live in the address, so that a view can be passed on as a link. */
import type { FormEvent, ReactNode } from 'react'
import type { Filter } from '../delivery-queries.ts'
import { STATE_FILTERS } from '../delivery-sentences.ts'
import { navigate } from '../router.tsx'

const KEYS = ['state', 'destination', 'event', 'from', 'to'] as const
const STATES = new Set(STATE_FILTERS.map(([value]) => value))

/** What the address says; anything that is no filter is left out. */
export function filterOf(search: URLSearchParams): Filter {
  const filter: Record<string, string> = {}
  for (const key of KEYS) {
    const value = search.get(key)?.trim() ?? ''
    if (value !== '' && (key !== 'state' || STATES.has(value))) filter[key] = value
  }
  return filter
}

export function pathOf(filter: Filter): string {
  const search = new URLSearchParams(Object.entries(filter).filter(([, value]) => value !== '')).toString()
  return search === '' ? '/deliveries' : `/deliveries?${search}`
}

export function DeliveryFilters({
  filter,
  destinations,
}: {
  filter: Filter
  destinations: readonly { readonly id: string; readonly name: string }[]
}): ReactNode {
  const apply = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault()
    const given = new FormData(event.currentTarget)
    const text = (key: string): string => String(given.get(key) ?? '').trim()
    const moments = Object.fromEntries(
      (['from', 'to'] as const).map((key) => [key, text(key) === '' ? '' : `${text(key)}:00Z`]),
    )
    navigate(
      pathOf({
        ...(Object.fromEntries(KEYS.map((key) => [key, text(key)])) as Filter),
        ...moments,
      }),
    )
  }
  const known = destinations.some(({ id }) => id === filter.destination)
  return (
    // a new address is a new form: what stands in it is always what is shown
    <form key={pathOf(filter)} className="filters card" onSubmit={apply} aria-label="Filter">
      <label>
        State
        <select name="state" defaultValue={filter.state ?? ''}>
          {STATE_FILTERS.map(([value, label]) => (
            <option key={value} value={value}>
              {label}
            </option>
          ))}
        </select>
      </label>
      <label>
        Destination
        <select name="destination" defaultValue={filter.destination ?? ''}>
          <option value="">All</option>
          {filter.destination !== undefined && !known && (
            <option value={filter.destination}>{filter.destination}</option>
          )}
          {destinations.map(({ id, name }) => (
            <option key={id} value={id}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <label>
        Event
        <input
          name="event"
          defaultValue={filter.event ?? ''}
          placeholder="evt_…"
          pattern="evt_[a-z2-7]{26}"
        />
      </label>
      <label>
        From (UTC)
        <input name="from" type="datetime-local" defaultValue={filter.from?.slice(0, 16) ?? ''} />
      </label>
      <label>
        To (UTC)
        <input name="to" type="datetime-local" defaultValue={filter.to?.slice(0, 16) ?? ''} />
      </label>
      <div className="actions">
        <button type="submit" className="primary">
          Show
        </button>
        {Object.keys(filter).length > 0 && (
          <button type="button" className="quiet" onClick={() => navigate('/deliveries')}>
            Clear
          </button>
        )}
      </div>
    </form>
  )
}
