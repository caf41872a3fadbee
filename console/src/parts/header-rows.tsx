/** Headers of a destination as rows of name and value. Stored values are never shown: they stay, or all are given anew. */
import type { ReactNode } from 'react'
import type { HeaderRow } from '../destination-form.ts'
import type { FieldsProps } from './destination-fields.tsx'

export function HeaderRows({
  fields,
  change,
  headerNames,
  headersNeeded,
  invalid,
}: Pick<FieldsProps, 'fields' | 'change' | 'headerNames' | 'headersNeeded'> & {
  invalid: boolean
}): ReactNode {
  const rows = fields.headers
  const put = (headers: readonly HeaderRow[]): void => change({ headers })
  if (rows === undefined && headersNeeded)
    return (
      <fieldset className="header-rows" aria-describedby={invalid ? 'refusal' : undefined}>
        <legend>Headers</legend>
        <p>
          Stored: {headerNames.join(', ')}. They were given for another place and are not sent to this one:
          give their values again.
        </p>
        <div className="actions">
          <button
            type="button"
            onClick={() => put(headerNames.map((name, index) => ({ key: index + 1, name, value: '' })))}
          >
            Give their values again
          </button>
          <button type="button" className="quiet" onClick={() => put([])}>
            Send none
          </button>
        </div>
      </fieldset>
    )
  if (rows === undefined)
    return (
      <fieldset className="header-rows">
        <legend>Headers</legend>
        <p>
          {headerNames.length === 0 ? 'None are stored.' : `Stored: ${headerNames.join(', ')}. They stay.`}
        </p>
        <div className="actions">
          <button type="button" onClick={() => put([newRow([])])}>
            {headerNames.length === 0 ? 'Add headers' : 'Give all headers anew'}
          </button>
        </div>
      </fieldset>
    )
  const edit = (key: number, some: Partial<HeaderRow>): void =>
    put(rows.map((row) => (row.key === key ? { ...row, ...some } : row)))
  return (
    <fieldset className="header-rows" aria-describedby={invalid ? 'refusal' : undefined}>
      <legend>Headers</legend>
      {rows.map((row, index) => (
        <div key={row.key} className="header-row">
          <input
            aria-label={`Name of header ${index + 1}`}
            placeholder="x-api-key"
            value={row.name}
            spellCheck={false}
            aria-invalid={invalid}
            onChange={(event) => edit(row.key, { name: event.target.value })}
          />
          <input
            aria-label={`Value of header ${index + 1}`}
            type="password"
            autoComplete="new-password"
            placeholder="its value"
            value={row.value}
            onChange={(event) => edit(row.key, { value: event.target.value })}
          />
          <button
            type="button"
            className="quiet"
            aria-label={`Remove header ${index + 1}`}
            onClick={() => put(rows.filter(({ key }) => key !== row.key))}
          >
            Remove
          </button>
        </div>
      ))}
      <p className="muted">Values are sealed and never shown again.</p>
      <div className="actions">
        <button type="button" onClick={() => put([...rows, newRow(rows)])}>
          Add a header
        </button>
      </div>
    </fieldset>
  )
}

const newRow = (rows: readonly HeaderRow[]): HeaderRow => ({
  key: Math.max(0, ...rows.map(({ key }) => key)) + 1,
  name: '',
  value: '',
})
