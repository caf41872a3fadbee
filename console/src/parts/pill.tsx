/** A state as text with a sign: never by colour alone. */
import type { ReactNode } from 'react'
import type { Tone } from '../sentences.ts'
import { Icon } from './icons.tsx'

export function Pill({ label, tone }: { label: string; tone: Tone }): ReactNode {
  return (
    <span className={`pill pill-${tone}`}>
      <Icon name={tone} />
      {label}
    </span>
  )
}
