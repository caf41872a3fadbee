/**
 * The console's own router: history, links, titles, and the focus that follows the page. Knows no page's content.
 */
import {
  type ComponentProps,
  type MouseEvent,
  type ReactNode,
  useEffect,
  useRef,
  useSyncExternalStore,
} from 'react'
import { pageOf, titleOf } from './routes.ts'

const listeners = new Set<() => void>()
const announce = (): void => {
  for (const listener of listeners) listener()
}
const subscribe = (listener: () => void): (() => void) => {
  listeners.add(listener)
  window.addEventListener('popstate', listener)
  return () => {
    listeners.delete(listener)
    window.removeEventListener('popstate', listener)
  }
}

export function usePath(): string {
  return useSyncExternalStore(subscribe, () => window.location.pathname)
}

/** What follows the path: filters that can be passed on as a link. */
export function useSearch(): URLSearchParams {
  return new URLSearchParams(useSyncExternalStore(subscribe, () => window.location.search))
}

export function navigate(path: string): void {
  window.history.pushState(null, '', path)
  announce()
}

/** A link that stays in the page, unless the person asks the browser for something else. */
export function Link({ to, ...rest }: { to: string; children: ReactNode } & ComponentProps<'a'>): ReactNode {
  const follow = (event: MouseEvent): void => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
    event.preventDefault()
    navigate(to)
  }
  return <a {...rest} href={to} onClick={follow} />
}

/** Title, scroll and focus after a change of page: the heading is focused, so that screen readers begin there. */
export function usePageChange(path: string): void {
  const first = useRef(true)
  useEffect(() => {
    document.title = titleOf(pageOf(path))
    if (first.current) {
      first.current = false
      return
    }
    moved = true
    window.scrollTo(0, 0)
    document.querySelector<HTMLElement>('main h1')?.focus()
  }, [path])
}

/** After the first change of page; on arrival the browser places the focus itself. */
let moved = false

/**
 * The one heading of a page: what focus moves to. When a heading is replaced, because what was loading has come, the
 * focus that was lost with it comes back.
 */
export function PageHeading({ children }: { children: ReactNode }): ReactNode {
  const heading = useRef<HTMLHeadingElement>(null)
  useEffect(() => {
    if (moved && document.activeElement === document.body) heading.current?.focus({ preventScroll: true })
  }, [])
  return (
    <h1 tabIndex={-1} ref={heading}>
      {children}
    </h1>
  )
}
