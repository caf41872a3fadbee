/**
 * The live validation handshake of Graph: POST with `validationToken` in the query and an empty body, ten
 * seconds, the decoded token as `text/plain` and nothing else (protocols/microsoft.md §2.2).
 */
import { randomUUID } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import { noteHandshake } from '../journal.ts'
import { type PostResult, post } from '../post.ts'
import type { MicrosoftWorld } from './world.ts'

export type HandshakeVerdict = { kind: 'passed' } | { kind: 'failed'; message: string }

export async function shakeHands(
  world: MicrosoftWorld,
  url: string,
  kind: 'notification' | 'lifecycle',
): Promise<HandshakeVerdict> {
  const token = `Validation: Testing client application reachability for subscription Request-Id: ${randomUUID()}`
  const encoded = token.replaceAll(':', '%3a').replaceAll(' ', '+')
  const at = new Date(world.now()).toISOString()
  const result = await post({
    url: `${url}${url.includes('?') ? '&' : '?'}validationToken=${encoded}`,
    headers: { accept: 'text/plain', 'content-type': 'text/plain; charset=utf-8' },
    body: '',
    timeoutMs: 10_000,
  })
  const verdict = judge(result, token)
  noteHandshake(world.journal, {
    at,
    url,
    kind,
    outcome: verdict.kind === 'passed' ? 'passed' : verdict.message,
    status: result.kind === 'answered' ? result.status : null,
    latencyMs: result.latencyMs,
  })
  return verdict
}

function judge(result: PostResult, token: string): HandshakeVerdict {
  const failed = (reason: string): HandshakeVerdict => ({
    kind: 'failed',
    message: `Subscription validation request ${reason}`,
  })
  const rule = 'Notification endpoint must respond with 200 OK to validation request.'
  if (result.kind === 'failed') {
    return result.reason === 'timeout' ? failed('timed out.') : failed(`failed. ${rule}`)
  }
  if (result.status !== 200) {
    const name = (STATUS_CODES[result.status] ?? String(result.status)).replaceAll(' ', '')
    return failed(`failed. HTTP status code is '${name}'. ${rule}`)
  }
  if (!/^text\/plain(;|$)/i.test(result.contentType)) {
    return failed('failed. Content type of the response must be text/plain.')
  }
  if (result.body !== token) {
    return failed('failed. Response must exactly match validationToken query parameter.')
  }
  return { kind: 'passed' }
}
