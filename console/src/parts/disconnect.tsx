/** Ends a connection after asking, in place, and says what that does and does not do. */
import type { AtProvider } from '@flovify/client/wire'
import { type ReactNode, useEffect, useId, useRef, useState } from 'react'
import { useDisconnect } from '../queries.ts'
import { explainAtProvider } from '../sentences.ts'

export function Disconnect({
  id,
  account,
  provider,
  atProvider,
}: {
  id: string
  account: string
  provider: string
  atProvider: AtProvider
}): ReactNode {
  const [asking, setAsking] = useState(false)
  const question = useId()
  const keep = useRef<HTMLButtonElement>(null)
  const start = useRef<HTMLButtonElement>(null)
  const asked = useRef(false)
  const disconnect = useDisconnect()
  useEffect(() => {
    if (asking) keep.current?.focus()
    else if (asked.current) start.current?.focus()
    asked.current = asking
  }, [asking])

  if (!asking) {
    return (
      <button
        type="button"
        className="quiet danger"
        ref={start}
        onClick={() => setAsking(true)}
        aria-label={`Disconnect ${account}`}
      >
        Disconnect
      </button>
    )
  }
  return (
    <fieldset
      className="confirm"
      aria-labelledby={question}
      onKeyDown={(event) => {
        if (event.key === 'Escape') setAsking(false)
      }}
    >
      <p id={question}>
        <strong>Disconnect {account}?</strong> Flovify gives nobody access any more, at once, ends its
        notifications and receives no more events from this account. Past events stay.{' '}
        {explainAtProvider(atProvider.kind, provider)}{' '}
        {atProvider.kind === 'withdraw_yourself' && atProvider.url !== null && (
          <a href={atProvider.url} target="_blank" rel="noreferrer noopener">
            Permissions at {provider}
          </a>
        )}
      </p>
      {disconnect.isError && (
        <p role="alert" className="text-bad">
          It is still connected: {disconnect.error.message}
        </p>
      )}
      <div className="actions">
        <button type="button" ref={keep} onClick={() => setAsking(false)}>
          Keep
        </button>
        <button
          type="button"
          className="destructive"
          onClick={() => disconnect.mutate(id)}
          disabled={disconnect.isPending}
        >
          {disconnect.isPending ? 'Disconnecting…' : 'Disconnect'}
        </button>
      </div>
    </fieldset>
  )
}
