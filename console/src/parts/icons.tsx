/** Drawings of our own. Those of providers are files in their own folders (provider-icon.tsx). */
import type { ReactNode } from 'react'

export function Mark(): ReactNode {
  return (
    <svg className="mark" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" />
      <path d="M10 11.5h6.5a4.5 4.5 0 0 1 0 9H15" />
      <circle cx="10" cy="11.5" r="3" />
      <circle cx="13" cy="20.5" r="3" />
    </svg>
  )
}

const PATHS = {
  back: 'M10 3 5 8l5 5',
  forward: 'm6 3 5 5-5 5',
  check: 'm3 8.5 3.2 3.2L13 5',
  minus: 'M4 8h8',
  good: 'm4.6 8.2 2.3 2.3 4.5-4.8',
  bad: 'm5.5 5.5 5 5m0-5-5 5',
  warn: 'M8 4.5v4.2m0 2.6v.1',
  busy: 'M4.6 8h.01M8 8h.01M11.4 8h.01',
  calm: 'M5 8h6',
} as const

export function Icon({ name }: { name: keyof typeof PATHS }): ReactNode {
  return (
    <svg className="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  )
}
