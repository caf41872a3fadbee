/** A secret that is shown this once, to copy. It lives in this page alone and is gone when the page is left. */
import { type ReactNode, useState } from 'react'

export function SecretOnce({ secret, children }: { secret: string; children: ReactNode }): ReactNode {
  const [copied, setCopied] = useState<'no' | 'yes' | 'failed'>('no')
  const copy = (): void => {
    navigator.clipboard.writeText(secret).then(
      () => setCopied('yes'),
      () => setCopied('failed'),
    )
  }
  return (
    <div className="notice notice-good secret-once" role="status">
      {children}
      <p>
        <code className="long">{secret}</code>
      </p>
      <div className="actions">
        <button type="button" onClick={copy}>
          {copied === 'yes' ? 'Copied' : 'Copy the secret'}
        </button>
      </div>
      {copied === 'failed' && (
        <p>The browser did not allow copying: select the secret and copy it yourself.</p>
      )}
    </div>
  )
}
