/** More of what an account allows: the provider's list, what is not allowed yet to be ticked, and then its consent page. */
import type { ConnectionView, ProviderView, ScopeView } from '@flovify/client/wire'
import { type ReactNode, useId, useState } from 'react'
import { explainRestriction } from '../sentences.ts'

export function AddScopes(props: {
  connection: ConnectionView
  provider: ProviderView
  busy: boolean
  onAsk: (scopes: string[]) => void
}): ReactNode {
  const { connection, provider } = props
  const [open, setOpen] = useState(false)
  const [chosen, setChosen] = useState<readonly string[]>([])
  const title = useId()
  const left = provider.scopes.filter(({ scope }) => !connection.scopes_granted.includes(scope))
  if (left.length === 0) return null
  if (!open)
    return (
      <button
        type="button"
        className="quiet"
        onClick={() => {
          setChosen(connection.scopes_missing.filter((scope) => left.some((one) => one.scope === scope)))
          setOpen(true)
        }}
        aria-label={`Allow more: ${connection.account_label}`}
      >
        Allow more
      </button>
    )
  const toggle = (scope: string) =>
    setChosen(chosen.includes(scope) ? chosen.filter((one) => one !== scope) : [...chosen, scope])
  return (
    <fieldset
      className="confirm"
      aria-labelledby={title}
      onKeyDown={(event) => {
        if (event.key === 'Escape') setOpen(false)
      }}
    >
      <p id={title}>
        <strong>What more may Flovify do with {connection.account_label}?</strong> You will be asked at{' '}
        {provider.label}. What is allowed now stays.
      </p>
      <ul className="choices">
        {left.map((one) => (
          <Choice
            key={one.scope}
            one={one}
            checked={chosen.includes(one.scope)}
            onChange={() => toggle(one.scope)}
          />
        ))}
      </ul>
      <div className="actions">
        <button type="button" onClick={() => setOpen(false)}>
          Cancel
        </button>
        <button
          type="button"
          className="primary"
          disabled={chosen.length === 0 || props.busy}
          onClick={() => props.onAsk([...chosen])}
        >
          Ask {provider.label}
        </button>
      </div>
    </fieldset>
  )
}

function Choice(props: { one: ScopeView; checked: boolean; onChange: () => void }): ReactNode {
  const { one } = props
  const restriction = explainRestriction(one.restriction)
  return (
    <li>
      <label>
        <input type="checkbox" checked={props.checked} onChange={props.onChange} />
        <span>
          {one.sentence}
          {restriction !== undefined && <span className="muted"> {restriction}</span>}
        </span>
      </label>
    </li>
  )
}
