/** Where an administrator has to agree: makes the link to pass on, and shows it once to copy. */
import type { ProviderView } from '@flovify/client/wire'
import { type ReactNode, useState } from 'react'
import { useAdminLink } from '../queries.ts'
import { Moment } from './moment.tsx'

export function AdminLink({ provider }: { provider: Pick<ProviderView, 'id' | 'label'> }): ReactNode {
  const link = useAdminLink()
  const [copied, setCopied] = useState(false)
  if (link.data === undefined)
    return (
      <>
        <button type="button" disabled={link.isPending} onClick={() => link.mutate(provider.id)}>
          {link.isPending ? 'Making the link…' : `Get a link for your ${provider.label} administrator`}
        </button>
        {link.isError && (
          <p role="alert" className="text-bad">
            {link.error.message}
          </p>
        )}
      </>
    )
  const { url, expires_at } = link.data
  return (
    <div className="confirm" role="status">
      <p>
        Send this link to an administrator of your organisation. It works once, until{' '}
        <Moment at={expires_at} far day />. When it has been used, connect again.
      </p>
      <p>
        <code className="long">{url}</code>
      </p>
      <div className="actions">
        <button
          type="button"
          onClick={() => {
            navigator.clipboard.writeText(url).then(
              () => setCopied(true),
              () => setCopied(false),
            )
          }}
        >
          {copied ? 'Copied' : 'Copy the link'}
        </button>
      </div>
    </div>
  )
}
