/**
 * The console's addresses. Pure: turns a path into a page and back into a title. The BFF serves the page for exactly
 * these (bff/src/console-files.ts).
 */

export type Page =
  | { readonly kind: 'connections' }
  | { readonly kind: 'events' }
  | { readonly kind: 'event'; readonly id: string }
  | { readonly kind: 'signin' }
  | { readonly kind: 'connected' }
  | { readonly kind: 'failed' }
  | { readonly kind: 'unknown' }

export function pageOf(path: string): Page {
  switch (path) {
    case '/':
    case '/connections':
      return { kind: 'connections' }
    case '/events':
      return { kind: 'events' }
    case '/signin':
      return { kind: 'signin' }
    case '/auth/success':
      return { kind: 'connected' }
    case '/auth/error':
      return { kind: 'failed' }
  }
  const [, id] = /^\/events\/([A-Za-z0-9_]{1,100})$/.exec(path) ?? []
  return id === undefined ? { kind: 'unknown' } : { kind: 'event', id }
}

export function titleOf(page: Page): string {
  const name = {
    connections: 'Connections',
    events: 'Events',
    event: 'Event',
    signin: 'Sign in',
    connected: 'Connecting',
    failed: 'Not connected',
    unknown: 'Not found',
  }[page.kind]
  return `${name} · Flovify Connect`
}
