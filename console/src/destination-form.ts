/** The form of a destination: what stands in its fields, and what of it goes to the API. Pure. */
import type {
  DestinationChange,
  DestinationKind,
  DestinationView,
  NewDestination,
} from '@flovify/client/wire'
import { type FieldName, readNumbers } from './destination-sentences.ts'

export interface HeaderRow {
  readonly key: number
  readonly name: string
  readonly value: string
}

export interface Fields {
  readonly kind: DestinationKind
  readonly name: string
  readonly url: string
  readonly testUrl: string
  /** undefined: those that are stored stay as they are. */
  readonly headers: readonly HeaderRow[] | undefined
  readonly concurrency: string
  readonly rate: string
  readonly timeoutSeconds: string
  readonly schedule: string
  readonly statuses: string
  readonly ca: string
}

/** @param known the destination that is changed; absent: a new one */
export function fieldsOf(known: DestinationView | undefined): Fields {
  return {
    kind: known?.kind ?? 'http',
    name: known?.name ?? '',
    url: known?.url ?? '',
    testUrl: known?.test_url ?? '',
    headers: known === undefined ? [] : undefined,
    concurrency: String(known?.concurrency ?? 10),
    rate: known?.rate_per_second?.toString() ?? '',
    timeoutSeconds: String((known?.timeout_ms ?? 15_000) / 1_000),
    schedule: known?.retry_schedule == null ? '' : known.retry_schedule.join(', ') || 'none',
    statuses: known?.retry_statuses?.join(', ') ?? '',
    ca: known?.ca ?? '',
  }
}

export type Judged =
  | { readonly kind: 'ready'; readonly request: NewDestination }
  | { readonly kind: 'mistake'; readonly field: FieldName | 'numbers'; readonly message: string }

/** `none` as plan: one try. What can be judged only by the service (addresses, certificates) is judged there. */
export function judgeFields(fields: Fields, known?: DestinationView): Judged {
  if (fields.headers === undefined && needsHeaders(fields, known))
    return mistake(
      'header',
      'The address leads to another place than the stored headers were given for: give their values again, or send none.',
    )
  const schedule = fields.schedule.trim().toLowerCase() === 'none' ? [] : readNumbers(fields.schedule)
  if (schedule === undefined)
    return mistake(
      'retry_schedule',
      'Waits are whole seconds with commas between them, or “none” for a single try.',
    )
  const statuses = readNumbers(fields.statuses)
  if (statuses === undefined)
    return mistake('retry_statuses', 'Statuses are whole numbers with commas between them, like 429, 503.')
  const timeout = Math.round(Number(fields.timeoutSeconds.replace(',', '.')) * 1_000)
  if (!(timeout >= 100 && timeout <= 30_000))
    return mistake('numbers', 'The timeout is between 0.1 and 30 seconds.')
  const concurrency = readNumbers(fields.concurrency)?.[0] ?? 0
  if (!(concurrency >= 1 && concurrency <= 1_000))
    return mistake('numbers', 'At once is a number from 1 to 1000.')
  const rate = readNumbers(fields.rate)
  if (rate === undefined || (rate !== null && !((rate[0] ?? 0) >= 1 && (rate[0] ?? 0) <= 100_000)))
    return mistake('numbers', 'Requests a second are a number from 1 to 100000, or nothing for no limit.')
  return {
    kind: 'ready',
    request: {
      kind: fields.kind,
      name: fields.name.trim(),
      url: fields.url.trim(),
      // left out, it follows from n8n's own naming
      ...(fields.kind === 'n8n' && fields.testUrl.trim() !== '' && { test_url: fields.testUrl.trim() }),
      ...(fields.headers !== undefined && { headers: headersOf(fields.headers) }),
      concurrency,
      rate_per_second: rate?.[0] ?? null,
      timeout_ms: timeout,
      retry_schedule: schedule,
      retry_statuses: statuses,
      ca: fields.ca.trim() === '' ? null : fields.ca,
    },
  }
}

/** Stored values are sent only where they were given for: another host, port or scheme needs them anew. */
export function needsHeaders(fields: Fields, known: DestinationView | undefined): boolean {
  if (known === undefined || known.header_names.length === 0) return false
  const places = [known.url, known.test_url ?? ''].map(originOf)
  return [fields.url, fields.kind === 'n8n' ? fields.testUrl : '']
    .map(originOf)
    .some((origin) => origin !== undefined && !places.includes(origin))
}

const originOf = (url: string): string | undefined =>
  URL.canParse(url.trim()) ? new URL(url.trim()).origin : undefined

const mistake = (field: FieldName | 'numbers', message: string): Judged => ({
  kind: 'mistake',
  field,
  message,
})

const headersOf = (rows: readonly HeaderRow[]): Record<string, string> =>
  Object.fromEntries(
    rows.filter(({ name }) => name.trim() !== '').map(({ name, value }) => [name.trim(), value]),
  )

/** Only what is different goes out: what somebody else changed meanwhile stays. */
export function changeOf(request: NewDestination, known: DestinationView): DestinationChange {
  const before: Record<string, unknown> = { ...known }
  return Object.fromEntries(
    Object.entries({ test_url: null, ...request }).filter(
      ([key, value]) => key === 'headers' || JSON.stringify(value) !== JSON.stringify(before[key]),
    ),
  ) as DestinationChange
}
