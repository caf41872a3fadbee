/** Makes a destination, or changes one. A new one's signing secret is shown once, here. For administrators. */
import type { CreatedDestination, DestinationView } from '@flovify/client/wire'
import { type FormEvent, type ReactNode, useEffect, useRef, useState } from 'react'
import { changeOf, type Fields, fieldsOf, judgeFields, needsHeaders } from '../destination-form.ts'
import { useChange, useCreate, useDestination } from '../destination-queries.ts'
import { fieldOf } from '../destination-sentences.ts'
import { DestinationFields } from '../parts/destination-fields.tsx'
import { Icon } from '../parts/icons.tsx'
import { Failure, Loading } from '../parts/notice.tsx'
import { SecretOnce } from '../parts/secret-once.tsx'
import { Link, navigate, PageHeading } from '../router.tsx'

export function NewDestinationPage(): ReactNode {
  const create = useCreate()
  const [made, setMade] = useState<CreatedDestination>()
  if (made !== undefined)
    return (
      <div className="narrow">
        <PageHeading>{made.name} is ready</PageHeading>
        <SecretOnce secret={made.secret}>
          <p>
            This is its signing secret. It is shown this once: give it to the receiver, so that it can tell
            our requests from others.
          </p>
        </SecretOnce>
        <p className="actions">
          <Link className="button primary" to={`/destinations/${made.id}`}>
            Go on and send a test event
          </Link>
        </p>
      </div>
    )
  return (
    <>
      <Back to="/destinations" label="All destinations" />
      <PageHeading>New destination</PageHeading>
      <Form
        pending={create.isPending}
        error={create.error}
        submit="Create it"
        leave="/destinations"
        send={(fields) => create.mutate(fields, { onSuccess: setMade })}
      />
    </>
  )
}

export function EditDestinationPage({ id }: { id: string }): ReactNode {
  const destination = useDestination(id)
  return (
    <>
      <Back to={`/destinations/${id}`} label="Its page" />
      <PageHeading>Change {destination.data?.name ?? 'a destination'}</PageHeading>
      {destination.isPending && <Loading what="the destination" />}
      {destination.isError && destination.data === undefined && (
        <Failure
          title="The destination could not be loaded"
          error={destination.error}
          retry={destination.refetch}
        />
      )}
      {destination.data !== undefined && <Edit known={destination.data} />}
    </>
  )
}

function Edit({ known }: { known: DestinationView }): ReactNode {
  const change = useChange(known.id)
  // as it was when the form was opened: what is typed is not replaced while others change it
  const [opened] = useState(known)
  const page = `/destinations/${known.id}`
  return (
    <Form
      known={opened}
      pending={change.isPending}
      error={change.error}
      submit="Save"
      leave={page}
      send={(request) => {
        const difference = changeOf(request, opened)
        if (Object.keys(difference).length === 0) navigate(page)
        else change.mutate(difference, { onSuccess: () => navigate(page) })
      }}
    />
  )
}

function Back({ to, label }: { to: string; label: string }): ReactNode {
  return (
    <Link className="back" to={to}>
      <Icon name="back" />
      {label}
    </Link>
  )
}

function Form(props: {
  known?: DestinationView
  pending: boolean
  error: Error | null
  submit: string
  leave: string
  send: (request: Extract<ReturnType<typeof judgeFields>, { kind: 'ready' }>['request']) => void
}): ReactNode {
  const [fields, setFields] = useState<Fields>(() => fieldsOf(props.known))
  const [own, setOwn] = useState<{ field: string; message: string }>()
  const alert = useRef<HTMLDivElement>(null)
  const message = own?.message ?? props.error?.message
  // a refusal is the next thing to read, wherever the button was
  useEffect(() => {
    if (message !== undefined) alert.current?.focus()
  }, [message])
  const submit = (event: FormEvent): void => {
    event.preventDefault()
    const judged = judgeFields(fields, props.known)
    setOwn(judged.kind === 'mistake' ? judged : undefined)
    if (judged.kind === 'ready') props.send(judged.request)
  }
  return (
    <form className="card panel destination-form" onSubmit={submit} aria-busy={props.pending}>
      {message !== undefined && (
        <div className="notice notice-bad" role="alert" tabIndex={-1} ref={alert}>
          <p id="refusal">{message}</p>
        </div>
      )}
      <DestinationFields
        fields={fields}
        change={(some) => setFields((before) => ({ ...before, ...some }))}
        headerNames={props.known?.header_names ?? []}
        headersNeeded={needsHeaders(fields, props.known)}
        wrong={own?.field ?? (props.error === null ? undefined : fieldOf(props.error))}
      />
      <div className="actions">
        <button type="submit" className="primary" disabled={props.pending}>
          {props.pending ? 'Saving…' : props.submit}
        </button>
        <Link className="button" to={props.leave}>
          Leave it
        </Link>
      </div>
    </form>
  )
}
