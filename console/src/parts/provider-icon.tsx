/**
 * The icon of a provider: the file in its own folder, taken in by the build, so that this code names no provider. One
 * that was configured by the operator has none and shows its initial.
 */
import type { ReactNode } from 'react'

const FILES = import.meta.glob<string>('../../../providers/src/*/icon.svg', {
  eager: true,
  query: '?url',
  import: 'default',
})

export function ProviderIcon({ id, label }: { id: string | null; label: string }): ReactNode {
  const file = id === null ? undefined : FILES[`../../../providers/src/${id}/icon.svg`]
  return (
    <span className="provider-icon" aria-hidden="true">
      {file === undefined ? <span>{label.slice(0, 1).toUpperCase()}</span> : <img src={file} alt="" />}
    </span>
  )
}
