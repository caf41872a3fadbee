/**
 * Sign-in tokens and tickets come in the fragment of the address. This takes it once and removes it from the address
 * and the history before anything else runs, so that it is in no bookmark, screenshot or later referrer. Kept only in
 * memory, for one page.
 */

let taken = take()
const listeners = new Set<() => void>()

// A link pasted into an open tab of the same page changes only the fragment.
window.addEventListener('hashchange', () => {
  const next = take()
  if (next === undefined) return
  taken = next
  for (const listener of listeners) listener()
})

export interface Fragment {
  readonly path: string
  readonly text: string
}

export function currentFragment(): Fragment | undefined {
  return taken
}

export function dropFragment(): void {
  taken = undefined
  for (const listener of listeners) listener()
}

export function onFragment(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

function take(): Fragment | undefined {
  const { hash, pathname, search } = window.location
  if (pathname !== '/signin' && pathname !== '/auth/success') return undefined
  if (hash.length < 2) return undefined
  window.history.replaceState(null, '', pathname + search)
  return { path: pathname, text: hash.slice(1) }
}
