/**
 * The console's addresses. Pure: turns a path into a page and back into a title. The BFF serves the page for exactly
 * these (bff/src/console-files.ts).
 */

export type Page =
  | { readonly kind: 'connections' }
  | { readonly kind: 'events' }
  | { readonly kind: 'event'; readonly id: string }
  | { readonly kind: 'destinations' }
  | { readonly kind: 'destination-new' }
  | { readonly kind: 'destination'; readonly id: string }
  | { readonly kind: 'destination-edit'; readonly id: string }
  | { readonly kind: 'deliveries' }
  | { readonly kind: 'delivery'; readonly id: string }
  | { readonly kind: 'signin' }
  | { readonly kind: 'connected' }
  | { readonly kind: 'failed' }
  | { readonly kind: 'unknown' }

const ONE = /^\/(events|destinations|deliveries)\/([A-Za-z0-9_]{1,100})(\/edit)?$/

export function pageOf(path: string): Page {
  switch (path) {
    case '/':
    case '/connections':
      return { kind: 'connections' }
    case '/events':
      return { kind: 'events' }
    case '/destinations':
      return { kind: 'destinations' }
    case '/destinations/new':
      return { kind: 'destination-new' }
    case '/deliveries':
      return { kind: 'deliveries' }
    case '/signin':
      return { kind: 'signin' }
    case '/auth/success':
      return { kind: 'connected' }
    case '/auth/error':
      return { kind: 'failed' }
  }
  const [, place, id, edit] = ONE.exec(path) ?? []
  if (id === undefined) return { kind: 'unknown' }
  if (place === 'destinations') return { kind: edit === undefined ? 'destination' : 'destination-edit', id }
  if (edit !== undefined) return { kind: 'unknown' }
  return { kind: place === 'events' ? 'event' : 'delivery', id }
}

export function titleOf(page: Page): string {
  const name = {
    connections: 'Connections',
    events: 'Events',
    event: 'Event',
    destinations: 'Destinations',
    'destination-new': 'New destination',
    destination: 'Destination',
    'destination-edit': 'Change a destination',
    deliveries: 'Deliveries',
    delivery: 'Delivery',
    signin: 'Sign in',
    connected: 'Connecting',
    failed: 'Not connected',
    unknown: 'Not found',
  }[page.kind]
  return `${name} · Flovify Connect`
}
