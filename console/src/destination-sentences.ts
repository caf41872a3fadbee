/** Destinations in words: state, health, retry plan, and what a mistake in the form is about. Pure. */
import type { DestinationHealth, DestinationView } from '@flovify/client/wire'
import type { Tone } from './sentences.ts'
import { duration } from './times.ts'

export interface Standing {
  readonly label: string
  readonly tone: Tone
  readonly text?: string
}

const DISABLED: Readonly<Record<string, string>> = {
  gone: 'It answered 410: gone for good. Nothing is sent until you take it into use again; what waits is kept.',
  failing:
    'Nothing was delivered for five days. Nothing is sent until you take it into use again; what waits is kept.',
}

/** The first of these that is true: disabled, paused, breaker open, failing, working. */
export function explainStanding(
  destination: DestinationView,
  health: DestinationHealth | undefined,
): Standing {
  if (destination.state === 'disabled') {
    const text = DISABLED[destination.disabled_reason ?? '']
    return { label: 'Disabled', tone: 'bad', ...(text !== undefined && { text }) }
  }
  if (destination.state === 'paused')
    return { label: 'Paused', tone: 'calm', text: 'What arrives is held and sent when you resume.' }
  if (health === undefined) return { label: 'Active', tone: 'calm' }
  if (health.breaker === 'open')
    return {
      label: 'Down',
      tone: 'bad',
      text: 'Too many attempts failed, so what arrives is held. One delivery at a time tries whether it is back.',
    }
  if (health.state === 'failing')
    return { label: 'Failing', tone: 'warn', text: 'Its latest deliveries failed and are tried again.' }
  return { label: 'Working', tone: 'good' }
}

/** `12 delivered, 1 failed; half within 40 ms, 95 of 100 within 120 ms` */
export function explainHour({ last_hour }: DestinationHealth): string {
  const { delivered, failed, p50_ms, p95_ms } = last_hour
  if (delivered + failed === 0) return 'No attempt in the last hour'
  const speed =
    p50_ms === null || p95_ms === null
      ? ''
      : `; half within ${duration(p50_ms)}, 95 of 100 within ${duration(p95_ms)}`
  return `${delivered} delivered, ${failed} failed${speed}`
}

/** 90 → `1 min 30 s` */
export function span(seconds: number): string {
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor((seconds % 86_400) / 3600), 'h'],
    [Math.floor((seconds % 3600) / 60), 'min'],
    [Math.round(seconds % 60), 's'],
  ] as const
  return (
    parts
      .filter(([count]) => count > 0)
      .map(([count, unit]) => `${count} ${unit}`)
      .join(' ') || '0 s'
  )
}

export function explainPlan(schedule: DestinationView['retry_schedule']): string {
  if (schedule === null) return 'The standard one: ten tries over up to 75 hours'
  if (schedule.length === 0) return 'One try'
  return `${schedule.length + 1} tries, after ${schedule.map(span).join(', ')}`
}

/** `5, 60 300` → [5, 60, 300]; empty → null (the default); undefined: not a list of whole numbers */
export function readNumbers(text: string): number[] | null | undefined {
  const parts = text.split(/[\s,;]+/).filter((part) => part !== '')
  if (parts.length === 0) return null
  return parts.every((part) => /^\d{1,9}$/.test(part)) ? parts.map(Number) : undefined
}

/** Field names of the API, as its sentences mention them. */
const FIELDS = ['test_url', 'retry_schedule', 'retry_statuses', 'header', 'ca', 'url'] as const
export type FieldName = (typeof FIELDS)[number]

/** Which field a refusal of the service speaks of; undefined when none is named. */
export function fieldOf(refusal: {
  readonly error?: unknown
  readonly message: string
}): FieldName | undefined {
  if (refusal.error === 'egress_refused') return 'url'
  return FIELDS.find((field) => new RegExp(`\\b${field}s?\\b`, 'i').test(refusal.message))
}
