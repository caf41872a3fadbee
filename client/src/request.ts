/**
 * One call of the internal API: builds the URL from checked segments, adds the tokens, keeps the deadline and turns
 * every failure into a ConnectError. Never follows a redirect (the tokens would go with it), never retries, never logs.
 */
import { ConnectError } from './connect-error.ts'

export interface ClientOptions {
  /** `AUTH_INTERNAL_URL`; a path prefix is kept. */
  readonly baseUrl: string
  /** The credential of a caller, `fcs_…`; of the BFF: `SERVICE_SECRET`. */
  readonly serviceToken: string
  readonly fetch?: typeof fetch
  /** For each call, body included. Default 10,000 ms. */
  readonly deadlineMs?: number
}

export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly path: string
  readonly query?: Readonly<Record<string, string | number | undefined>>
  readonly body?: unknown
  /** Session token of the person for whom the call is made. */
  readonly session?: string
  readonly deadlineMs?: number
}

const DEADLINE_MS = 10_000

/** @returns the parsed JSON body; undefined for 204. @throws ConnectError */
export async function requestJson(options: ClientOptions, call: Call): Promise<unknown> {
  const { status, text } = await request(options, call)
  if (status === 204) return undefined
  const body = parse(text)
  if (body === undefined) throw badAnswer(status)
  return body
}

/** @returns the body as text. @throws ConnectError */
export async function requestText(options: ClientOptions, call: Call): Promise<string> {
  return (await request(options, call)).text
}

/**
 * One path segment. Our ids and provider names need no escape, so anything that would need one is refused: `..`
 * survives `encodeURIComponent` and would be resolved into another route.
 * @throws ConnectError 404 `not_found`, as for any id that does not exist
 */
export function segment(value: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/.test(value)) return value
  throw new ConnectError({ status: 404, error: 'not_found', message: 'There is nothing with this id.' })
}

async function request(options: ClientOptions, call: Call): Promise<{ status: number; text: string }> {
  const headers: Record<string, string> = {
    accept: 'application/json',
    'x-service-token': options.serviceToken,
  }
  if (call.session !== undefined) headers['x-session-token'] = call.session
  if (call.body !== undefined) headers['content-type'] = 'application/json'
  const signal = AbortSignal.timeout(call.deadlineMs ?? options.deadlineMs ?? DEADLINE_MS)
  const init: RequestInit = { method: call.method, headers, signal, redirect: 'error' }
  if (call.body !== undefined) init.body = JSON.stringify(call.body)
  const answer = await send(options.fetch ?? fetch, address(options.baseUrl, call), init)
  if (answer.status >= 200 && answer.status < 300) return answer
  throw refusal(answer)
}

function address(baseUrl: string, call: Call): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(call.query ?? {})) {
    if (value !== undefined) query.set(name, String(value))
  }
  const search = query.toString()
  return `${baseUrl.replace(/\/+$/, '')}${call.path}${search === '' ? '' : `?${search}`}`
}

async function send(
  fetcher: typeof fetch,
  url: string,
  init: RequestInit,
): Promise<{ status: number; text: string }> {
  try {
    const response = await fetcher(url, init)
    return { status: response.status, text: await response.text() }
  } catch (cause) {
    if (init.signal?.aborted) {
      throw new ConnectError({
        status: 0,
        error: 'timeout',
        message: 'The Auth service did not answer in time.',
        cause,
      })
    }
    throw new ConnectError({
      status: 0,
      error: 'unreachable',
      message: 'The Auth service cannot be reached.',
      cause,
    })
  }
}

function refusal(answer: { status: number; text: string }): ConnectError {
  const body = parse(answer.text)
  if (!isRecord(body) || typeof body.error !== 'string' || typeof body.message !== 'string') {
    return badAnswer(answer.status)
  }
  return new ConnectError({
    status: answer.status,
    error: body.error,
    message: body.message,
    reason: typeof body.reason === 'string' ? body.reason : undefined,
    connectionIds: Array.isArray(body.connection_ids)
      ? body.connection_ids.filter((id) => typeof id === 'string')
      : undefined,
  })
}

function badAnswer(status: number): ConnectError {
  return new ConnectError({
    status,
    error: 'bad_answer',
    message: 'The answer is not one of the Auth service: check AUTH_INTERNAL_URL.',
  })
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
