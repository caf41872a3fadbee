/** The fields of a destination's form. Values of headers only go in: stored ones are named, never shown. */
import { type ReactNode, useId } from 'react'
import type { Fields } from '../destination-form.ts'
import { HeaderRows } from './header-rows.tsx'

export interface FieldsProps {
  readonly fields: Fields
  readonly change: (some: Partial<Fields>) => void
  readonly headerNames: readonly string[]
  /** Those that are stored cannot stay: the address leads elsewhere. */
  readonly headersNeeded: boolean
  /** The field that the refusal speaks of. */
  readonly wrong: string | undefined
}

type TextField = Exclude<keyof Fields, 'kind' | 'headers'>

export function DestinationFields(props: FieldsProps): ReactNode {
  const { fields, change } = props
  const text = (key: TextField, label: string, more: Partial<FieldProps> = {}): ReactNode => (
    <Field
      label={label}
      value={fields[key]}
      onChange={(value) => change({ [key]: value })}
      invalid={more.name !== undefined && more.name === props.wrong}
      {...more}
    />
  )
  return (
    <>
      <fieldset className="kinds">
        <legend>Kind</legend>
        {(['http', 'n8n'] as const).map((kind) => (
          <label key={kind}>
            <input
              type="radio"
              name="kind"
              checked={fields.kind === kind}
              onChange={() => change({ kind })}
            />
            {kind === 'http' ? 'HTTP: a service of yours' : 'n8n: the Webhook node of a workflow'}
          </label>
        ))}
      </fieldset>
      {text('name', 'Name', { required: true, maxLength: 100 })}
      {text('url', fields.kind === 'n8n' ? 'Production URL' : 'URL', {
        name: 'url',
        required: true,
        placeholder: fields.kind === 'n8n' ? 'https://n8n.example.com/webhook/…' : 'https://…',
        hint: 'Must be public. An address inside your network needs EGRESS_ALLOW.',
      })}
      {fields.kind === 'n8n' &&
        text('testUrl', 'Test URL', {
          name: 'test_url',
          placeholder: 'https://n8n.example.com/webhook-test/…',
          hint: 'Listens only while somebody watches the workflow. Empty: it follows from the production URL. One that did so follows it again when that changes.',
        })}
      <HeaderRows {...props} invalid={props.wrong === 'header'} />
      <details>
        <summary>Pace and retries</summary>
        <div className="field-grid">
          {text('concurrency', 'At once', { name: 'numbers', hint: 'Requests that may be open together.' })}
          {text('rate', 'A second', { name: 'numbers', hint: 'Empty: as fast as it answers.' })}
          {text('timeoutSeconds', 'Timeout in seconds', { name: 'numbers', hint: '30 at most.' })}
          {text('schedule', 'Waits before the next tries, in seconds', {
            name: 'retry_schedule',
            placeholder: '5, 300, 1800',
            hint: 'Empty: ten tries over up to 75 hours. “none”: a single try.',
          })}
          {text('statuses', 'Statuses worth another try', {
            name: 'retry_statuses',
            placeholder: '429, 503',
            hint: 'Empty: all that are not 2xx.',
          })}
        </div>
      </details>
      <details>
        <summary>Private certificate authority</summary>
        {text('ca', 'Certificates in PEM', {
          name: 'ca',
          area: true,
          hint: 'Trusted for this destination alone. Empty: the public authorities.',
        })}
      </details>
    </>
  )
}

interface FieldProps {
  readonly label: string
  readonly value: string
  readonly onChange: (value: string) => void
  readonly name?: string
  readonly hint?: string
  readonly placeholder?: string
  readonly required?: boolean
  readonly maxLength?: number
  readonly invalid: boolean
  readonly area?: boolean
}

function Field({ label, hint, area, invalid, onChange, ...rest }: FieldProps): ReactNode {
  const id = useId()
  const described = [hint !== undefined && `${id}-hint`, invalid && 'refusal'].filter(Boolean).join(' ')
  const common = {
    ...rest,
    id,
    'aria-invalid': invalid,
    ...(described !== '' && { 'aria-describedby': described }),
    onChange: (event: { target: { value: string } }) => onChange(event.target.value),
    spellCheck: false,
  }
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {area ? <textarea rows={6} {...common} /> : <input {...common} />}
      {hint !== undefined && (
        <p id={`${id}-hint`} className="muted">
          {hint}
        </p>
      )}
    </div>
  )
}
