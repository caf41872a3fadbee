/** What an account allowed and what it did not, in sentences; a scope without a sentence is shown as it is spelled. */
import type { ConnectionView, ProviderView } from '@flovify/client/wire'
import type { ReactNode } from 'react'
import { Icon } from './icons.tsx'

export function Scopes({
  connection,
  provider,
}: {
  connection: Pick<ConnectionView, 'scopes_granted' | 'scopes_missing'>
  provider: ProviderView | undefined
}): ReactNode {
  return (
    <div className="facts">
      <p className="label">May</p>
      {connection.scopes_granted.length === 0 && <p className="muted">Nothing.</p>}
      <ul className="scopes">
        {connection.scopes_granted.map((scope) => (
          <li key={scope}>
            <Icon name="check" />
            <Sentence scope={scope} provider={provider} />
          </li>
        ))}
      </ul>
      {connection.scopes_missing.length > 0 && (
        <>
          <p className="label">Was not allowed</p>
          <ul className="scopes scopes-missing">
            {connection.scopes_missing.map((scope) => (
              <li key={scope}>
                <Icon name="minus" />
                <Sentence scope={scope} provider={provider} />
              </li>
            ))}
          </ul>
        </>
      )}
    </div>
  )
}

function Sentence({ scope, provider }: { scope: string; provider: ProviderView | undefined }): ReactNode {
  const sentence = provider?.scopes.find((one) => one.scope === scope)?.sentence
  return sentence === undefined ? <code>{scope}</code> : <span title={scope}>{sentence}</span>
}
