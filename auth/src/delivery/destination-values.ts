/**
 * What an administrator may say of a destination, judged when it is said: every mistake at once, each a sentence that
 * says what to do, none that repeats a secret. Pure; the egress guard judges the addresses.
 */
import { X509Certificate } from 'node:crypto'
import { readCustomHeaders } from './custom-headers.ts'

export type DestinationKind = 'http' | 'n8n'

/** What can be said when a destination is made and changed later. Absent: the default, or unchanged; null: none. */
export interface DestinationValues {
  readonly kind?: DestinationKind | undefined
  readonly name?: string | undefined
  readonly url?: string | undefined
  /** n8n only: the URL that listens while a person tests a workflow; null, or never given: it follows from `url`. */
  readonly testUrl?: string | null | undefined
  /** All of them anew; their values are never shown again. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly concurrency?: number | undefined
  readonly ratePerSecond?: number | null | undefined
  readonly timeoutMs?: number | undefined
  /** Seconds before try 2, 3, …; null: the default plan. */
  readonly retrySchedule?: readonly number[] | null | undefined
  /** Statuses worth another try; null: all that are not 2xx. */
  readonly retryStatuses?: readonly number[] | null | undefined
  /** Certificate authorities in PEM, for this destination alone; null: the public ones. */
  readonly ca?: string | null | undefined
}

const MAX_TRIES = 20
const WEEK_SECONDS = 7 * 24 * 3600
const CA_BYTES = 64 * 1024
const CA_CERTIFICATES = 8

/** @returns one sentence for each mistake; none: the values can be stored, headers in lower case */
export function mistakesOf(values: DestinationValues, kind: DestinationKind): string[] {
  const mistakes: string[] = []
  if (values.headers !== undefined) {
    const reading = readCustomHeaders(values.headers)
    if (reading.kind === 'refused') mistakes.push(...reading.mistakes)
  }
  if (values.retrySchedule) mistakes.push(...scheduleMistakes(values.retrySchedule))
  if (values.retryStatuses) mistakes.push(...statusMistakes(values.retryStatuses))
  if (values.ca) mistakes.push(...authorityMistakes(values.ca))
  if (kind !== 'n8n' && values.testUrl) mistakes.push('Only a destination of kind n8n has a test_url.')
  if (kind === 'n8n' && values.url !== undefined && pathOf(values.url).includes('/webhook-test/'))
    mistakes.push(
      'url is n8n’s test address, which listens only while somebody watches the editor: give the production one (/webhook/…) as url and this one as test_url.',
    )
  return mistakes
}

/** n8n shows both addresses; when only the production one is given, the other follows from n8n’s own naming. */
export function n8nTestUrl(url: string): string | null {
  return pathOf(url).includes('/webhook/') ? url.replace('/webhook/', '/webhook-test/') : null
}

function pathOf(url: string): string {
  return URL.canParse(url) ? new URL(url).pathname : ''
}

function scheduleMistakes(seconds: readonly number[]): string[] {
  if (seconds.length > MAX_TRIES) return [`retry_schedule has at most ${MAX_TRIES} waits.`]
  return seconds.every((wait) => Number.isInteger(wait) && wait >= 1 && wait <= WEEK_SECONDS)
    ? []
    : ['retry_schedule is a list of whole seconds, each from 1 to 604800 (a week).']
}

function statusMistakes(statuses: readonly number[]): string[] {
  return statuses.length <= 100 &&
    statuses.every((status) => Number.isInteger(status) && status >= 300 && status <= 599)
    ? []
    : ['retry_statuses is a list of HTTP statuses from 300 to 599.']
}

function authorityMistakes(pem: string): string[] {
  if (pem.length > CA_BYTES) return ['ca is longer than 64 KiB.']
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g) ?? []
  if (blocks.length === 0 || blocks.length > CA_CERTIFICATES)
    return [`ca holds between 1 and ${CA_CERTIFICATES} certificates in PEM.`]
  const rest = blocks.reduce((text, block) => text.replace(block, ''), pem)
  if (rest.includes('PRIVATE KEY'))
    return ['ca holds a private key: give certificates only, and replace that key.']
  try {
    return blocks.every((block) => new X509Certificate(block).ca)
      ? []
      : ['ca holds a certificate that is not of an authority (basic constraints without CA).']
  } catch {
    return ['ca holds a certificate that cannot be read.']
  }
}
