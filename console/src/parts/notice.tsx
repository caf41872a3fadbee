/** What a page says when there is nothing to show yet, nothing at all, or something went wrong. */
import type { ReactNode } from 'react'
import { PageHeading } from '../router.tsx'

export function Notice({
  children,
  tone = 'calm',
}: {
  children: ReactNode
  tone?: 'calm' | 'bad' | 'good'
}): ReactNode {
  return <div className={`notice notice-${tone}`}>{children}</div>
}

/** @param heading when the failure is all that the page has to show */
export function Failure(props: {
  title: string
  error: Error
  retry: () => unknown
  heading?: boolean
}): ReactNode {
  const title = props.heading ? <PageHeading>{props.title}</PageHeading> : <h3>{props.title}</h3>
  return (
    <div className="notice notice-bad" role="alert">
      {title}
      <p>{props.error.message}</p>
      <button type="button" onClick={() => void props.retry()}>
        Try again
      </button>
    </div>
  )
}

export function Loading({ what }: { what: string }): ReactNode {
  return (
    <div className="loading" role="status">
      <span className="visually-hidden">Loading {what}…</span>
      <span className="bone" />
      <span className="bone" />
      <span className="bone" />
    </div>
  )
}
