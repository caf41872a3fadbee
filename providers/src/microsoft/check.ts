/**
 * Asks Graph cheaply whether a watched resource changed: one request for the newest item, or the smallest page of a
 * drive's delta (protocols/microsoft.md §4). It reads no content. A cursor is the time of the newest change, or the
 * drive's delta token.
 */
import { jsonOf, send, transportFailure } from '../http-answer.ts'
import type { CheckOutcome, Host, Json, SubscriptionCheck } from '../provider.ts'
import { isArray, member, textMember } from '../webhook/hostile-json.ts'
import { classifyGraphError } from './failure.ts'
import type { MicrosoftSettings } from './settings.ts'

/** Before anything ever changed. */
const NEVER = new Date(0).toISOString()

export function microsoftCheck(
  settings: MicrosoftSettings,
  host: Host,
): (request: SubscriptionCheck) => Promise<CheckOutcome> {
  const graph = `${settings.graphUrl}/v1.0`
  return (request) =>
    request.resource === 'me/drive/root'
      ? checkDrive(host, graph, request)
      : checkNewest(host, graph, request)
}

/** Deleting an item changes none of the others: that alone is not seen here. */
async function checkNewest(host: Host, graph: string, request: SubscriptionCheck): Promise<CheckOutcome> {
  const query = '$top=1&$select=id,lastModifiedDateTime&$orderby=lastModifiedDateTime%20desc'
  const body = await read(host, `${graph}/${request.resource}?${query}`, request)
  if (body.kind === 'failed') return body
  const items = member(body.json, 'value')
  if (!isArray(items)) return bad
  const newest = Date.parse(textMember(items[0], 'lastModifiedDateTime') ?? NEVER)
  if (Number.isNaN(newest)) return bad
  const before = request.cursor === undefined ? newest : Date.parse(request.cursor)
  // the newest may have been deleted: time does not go back
  const cursor = new Date(Number.isNaN(before) ? newest : Math.max(before, newest)).toISOString()
  return newest > before
    ? { kind: 'checked', changed: true, cursor, newestAt: new Date(newest) }
    : { kind: 'checked', changed: false, cursor }
}

async function checkDrive(host: Host, graph: string, request: SubscriptionCheck): Promise<CheckOutcome> {
  const delta = (token: string) =>
    read(
      host,
      `${graph}/me/drive/root/delta?token=${encodeURIComponent(token)}&$select=id,lastModifiedDateTime&$top=1`,
      request,
    )
  const body = await delta(request.cursor ?? 'latest')
  const isGone = body.kind === 'failed' && body.status === 410
  const items = body.kind === 'read' ? member(body.json, 'value') : []
  if (body.kind === 'failed' && !isGone) return body
  if (!isArray(items)) return bad
  const changed = request.cursor !== undefined && items.length > 0
  const cursor = body.kind === 'read' ? tokenOf(body.json) : undefined
  const times = items.map((item) => Date.parse(textMember(item, 'lastModifiedDateTime') ?? ''))
  const newest = Math.max(...times.filter((time) => !Number.isNaN(time)))
  const more = changed && Number.isFinite(newest) ? { newestAt: new Date(newest) } : {}
  if (cursor !== undefined) return { kind: 'checked', changed, cursor, ...more }
  const latest = await delta('latest')
  if (latest.kind === 'failed') return latest
  const now = tokenOf(latest.json)
  if (now === undefined) return bad
  return { kind: 'checked', changed, cursor: now, ...more, ...(isGone && { lost: true }) }
}

/** Of the link that the next round begins with; undefined while there are more pages. */
function tokenOf(body: Json | undefined): string | undefined {
  const link = textMember(body, '@odata.deltaLink') ?? ''
  const token = URL.canParse(link) ? new URL(link).searchParams.get('token') : null
  return token === null || token === '' || token.length > 4_096 ? undefined : token
}

const bad: CheckOutcome = { kind: 'failed', failure: transportFailure('bad_check_answer') }

async function read(host: Host, url: string, { accessToken, signal }: SubscriptionCheck) {
  const outcome = await send(host, {
    method: 'GET',
    url,
    headers: { authorization: `Bearer ${accessToken.reveal()}`, prefer: 'IdType="ImmutableId"' },
    signal,
  })
  if (outcome.kind === 'failed')
    return { kind: 'failed', status: undefined, failure: transportFailure(outcome.code) } as const
  const { answer } = outcome
  return answer.status === 200
    ? ({ kind: 'read', json: jsonOf(answer) } as const)
    : ({ kind: 'failed', status: answer.status, failure: classifyGraphError(answer, host.now()) } as const)
}
