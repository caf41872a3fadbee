/**
 * The relay form: a message that an operator's own forwarder signed with a secret of his. It proves itself by an HMAC over
 * the raw bytes and becomes an event without a connection; whoever repeats it word for word says nothing new.
 */
import type { Fact, JsonObject, NotificationRequest, Verdict } from '../provider.ts'
import type { Secret } from '../secret.ts'
import type { SingleHeader } from './headers.ts'
import { isHmacSha256, sha256Hex } from './hmac.ts'
import { readHostileJson } from './hostile-json.ts'

/**
 * @param believed the secret, and the earlier one while senders change over; without any the form is off
 * @param signature of the header that chose this form: it alone decides
 */
export function judgeRelay(
  believed: readonly (Secret | undefined)[],
  request: NotificationRequest,
  signature: Exclude<SingleHeader, { kind: 'absent' }>,
): Verdict {
  const secrets = believed.filter((secret) => secret !== undefined)
  if (secrets.length === 0) return rejected('relay_off')
  if (signature.kind === 'several') return rejected('duplicate_signature', 400)
  if (!secrets.some((secret) => isHmacSha256(secret, request.body, signature.value, 'hex')))
    return rejected('bad_signature')
  const reading = readHostileJson(request.body)
  const data: JsonObject =
    reading.kind === 'json'
      ? { body: reading.value, encoding: 'json' }
      : { body: request.body.toString('base64'), encoding: 'base64' }
  const fact: Fact = {
    connectionId: undefined,
    subscriptionId: undefined,
    type: 'relay.message.v1.received',
    originType: 'relay.message',
    subject: undefined,
    identity: sha256Hex(request.body),
    time: undefined,
    data,
  }
  return { kind: 'verified', status: 200, answer: '{"status":"ok"}', facts: [fact], rejected: [] }
}

function rejected(reason: string, status = 401): Verdict {
  return { kind: 'rejected', status, reason }
}
