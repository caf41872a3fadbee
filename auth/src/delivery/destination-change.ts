/**
 * Judging and changing a destination. Addresses go to the egress guard before anything is written; a change locks the
 * row as the claim does, writes only what was said, and is audited with what it was and what it is, without secrets.
 */
import { Secret } from '@flovify/providers'
import { audit } from '../audit/audit.ts'
import type { Database } from '../db/sql.ts'
import type { SealingKey, Vault } from '../vault/vault.ts'
import { readCustomHeaders } from './custom-headers.ts'
import { destinationContext } from './destination-attempt.ts'
import {
  type DestinationColumns,
  type DestinationRow,
  findDestination,
  type LockedDestination,
  lockDestination,
  setDestinationColumns,
} from './destination-store.ts'
import { type DestinationKind, type DestinationValues, mistakesOf, n8nTestUrl } from './destination-values.ts'
import type { Egress } from './egress.ts'
import type { RefusalReason } from './egress-failure.ts'

export interface Saving {
  readonly db: Database
  readonly vault: Vault
  readonly egress: Pick<Egress, 'check'>
}

export type Refusal =
  | { readonly kind: 'egress_refused'; readonly reason: RefusalReason }
  | { readonly kind: 'invalid'; readonly mistakes: readonly string[] }

export type ChangeOutcome =
  | { readonly kind: 'changed'; readonly destination: DestinationRow }
  | { readonly kind: 'unknown' }
  /** An address of another origin, and header values that were given for the earlier one. */
  | { readonly kind: 'headers_needed' }
  | Refusal

type Judged =
  | { readonly kind: 'good'; readonly values: DestinationValues; readonly url: string }
  | { readonly kind: 'refused'; readonly refusal: Refusal }

/** @returns the values with addresses as the guard will use them, headers in lower case; `url` is '' when none is given */
export async function judge(
  egress: Pick<Egress, 'check'>,
  values: DestinationValues,
  kind: DestinationKind,
): Promise<Judged> {
  const mistakes = mistakesOf(values, kind)
  if (mistakes.length > 0) return { kind: 'refused', refusal: { kind: 'invalid', mistakes } }
  let { url, testUrl } = values
  if (url !== undefined) {
    const verdict = await egress.check(url)
    if (verdict.kind === 'refused')
      return { kind: 'refused', refusal: { kind: 'egress_refused', reason: verdict.reason } }
    url = verdict.url
  }
  if (typeof testUrl === 'string') {
    const verdict = await egress.check(testUrl)
    if (verdict.kind === 'refused')
      return { kind: 'refused', refusal: { kind: 'egress_refused', reason: verdict.reason } }
    testUrl = verdict.url
  }
  const headers = values.headers === undefined ? undefined : readCustomHeaders(values.headers)
  return {
    kind: 'good',
    url: url ?? '',
    values: { ...values, url, testUrl, headers: headers?.kind === 'read' ? headers.headers : undefined },
  }
}

/** @param values judged already; the addresses of a new destination are in its insert */
export function columnsOf(key: SealingKey, values: DestinationValues): DestinationColumns {
  const { headers } = values
  const columns: { -readonly [K in keyof DestinationColumns]: DestinationColumns[K] | undefined } = {
    kind: values.kind,
    name: values.name,
    url: values.url,
    test_url: values.testUrl,
    concurrency: values.concurrency,
    rate_per_second: values.ratePerSecond,
    timeout_ms: values.timeoutMs,
    retry_schedule: values.retrySchedule,
    retry_statuses: values.retryStatuses,
    ca: values.ca,
  }
  if (headers !== undefined) {
    columns.header_names = Object.keys(headers)
    columns.headers =
      columns.header_names.length === 0 ? null : key.seal('headers', new Secret(JSON.stringify(headers)))
  }
  return Object.fromEntries(Object.entries(columns).filter(([, value]) => value !== undefined))
}

export async function changeDestination(
  needs: Saving,
  actor: string,
  id: string,
  values: DestinationValues,
): Promise<ChangeOutcome> {
  const known = await findDestination(needs.db, id)
  if (known === undefined) return { kind: 'unknown' }
  const kind = values.kind ?? known.kind
  // what it has was judged when it was saved, and is again with each attempt: a name that cannot be looked up this moment
  // is no reason to refuse another timeout
  const egress = {
    check: async (url: string): ReturnType<Egress['check']> =>
      url === known.url ? { kind: 'permitted', url } : needs.egress.check(url),
  }
  const judged = await judge(egress, { url: known.url, ...definedOf(values) }, kind)
  if (judged.kind === 'refused') return judged.refusal
  return needs.db.transaction(async (tx) => {
    const locked = await lockDestination(tx, id)
    if (locked === undefined) return { kind: 'unknown' as const }
    const key = needs.vault.open(locked.data_key, destinationContext(id))
    // another change may have come between
    const kindNow = values.kind ?? locked.kind
    const mistakes = kindNow === kind ? [] : mistakesOf({ url: locked.url, ...judged.values }, kindNow)
    if (mistakes.length > 0) return { kind: 'invalid' as const, mistakes }
    const url = values.url === undefined ? undefined : judged.url
    const said = { ...judged.values, url, testUrl: testUrlOf(kindNow, locked, { ...judged.values, url }) }
    if (said.headers === undefined && locked.headers !== null && leadsElsewhere(locked, said))
      return { kind: 'headers_needed' as const }
    const columns = columnsOf(key, said)
    await setDestinationColumns(tx, id, columns)
    const detail = differences(locked, columns)
    if (Object.keys(detail).length > 0)
      await audit(tx, { actor, action: 'destination.changed', subject: id, detail })
    const destination = await findDestination(tx, id)
    return destination === undefined
      ? { kind: 'unknown' as const }
      : { kind: 'changed' as const, destination }
  })
}

/**
 * The test address as the change leaves it: the one that is given; without one it follows from the production address, as
 * when a destination is made, unless the one that is stored was somebody's own. Who becomes http has none.
 *
 * @returns undefined when it stays as it is
 */
function testUrlOf(
  kind: DestinationKind,
  locked: LockedDestination,
  { url, testUrl }: DestinationValues,
): string | null | undefined {
  if (kind === 'http') return locked.test_url === null ? undefined : null
  if (typeof testUrl === 'string') return testUrl
  const follows = locked.test_url === null || locked.test_url === n8nTestUrl(locked.url)
  const leftOut = testUrl === undefined && locked.kind === 'n8n' && (url === undefined || !follows)
  return leftOut ? undefined : n8nTestUrl(url ?? locked.url)
}

/**
 * Stored header values go only where they were given for: whoever could point them at a host of his own would read there
 * what is never shown. The test address gets them too.
 */
function leadsElsewhere(locked: LockedDestination, said: DestinationValues): boolean {
  const known = originsOf([locked.url, locked.test_url])
  return originsOf([said.url, said.testUrl]).some((origin) => !known.includes(origin))
}

const originsOf = (urls: readonly (string | null | undefined)[]): string[] =>
  urls.flatMap((url) => (typeof url === 'string' ? [new URL(url).origin] : []))

function definedOf(values: DestinationValues): DestinationValues {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined))
}

/** `before → after` of each column; of addresses the host alone, of headers the names, of authorities that there are any. */
function differences(before: LockedDestination, columns: DestinationColumns): Record<string, string> {
  const detail: Record<string, string> = {}
  for (const [name, value] of Object.entries(columns)) {
    const earlier = before[name as keyof DestinationColumns]
    // sealed anew each time: whether a value changed is not said, only that they were set
    if (name === 'headers') detail.header_values = value === null ? 'removed' : 'set'
    else if (JSON.stringify(earlier) !== JSON.stringify(value))
      detail[name] = `${told(name, earlier)} → ${told(name, value)}`
  }
  return detail
}

function told(column: string, value: unknown): string {
  if (value === null || value === undefined) return 'none'
  if (column === 'url' || column === 'test_url') return new URL(String(value)).host
  return column === 'ca' ? 'given' : String(value)
}
