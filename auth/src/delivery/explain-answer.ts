/**
 * What a receiver's answer means, in a sentence for the person who set it up, and what to do about it. n8n's usual
 * answers are known by status and by the words that it uses. Pure; it only reads what was redacted before.
 * Sources: n8n documentation, "Webhook node" (test and production URLs, authentication) and "Common issues".
 */
import type { DestinationKind } from './destination-values.ts'
import type { EgressAnswer } from './egress.ts'
import type { FailureCode, RefusalReason } from './egress-failure.ts'

/** @param body the beginning of the answer's body, as text */
export function explainAnswer(
  kind: DestinationKind,
  to: 'production' | 'test',
  answer: EgressAnswer,
  body: string,
): string {
  switch (answer.kind) {
    case 'refused':
      return REFUSED[answer.reason]
    case 'failed':
      return FAILED[answer.error]
    case 'answered':
      return (kind === 'n8n' ? n8nAnswer(to, answer.status, body) : undefined) ?? plainAnswer(answer.status)
    default:
      return answer satisfies never
  }
}

function n8nAnswer(to: 'production' | 'test', status: number, body: string): string | undefined {
  if (status === 200 && /workflow was started/i.test(body))
    return 'n8n started the workflow and answered at once. It does not say whether the workflow succeeds: look at its executions, or let the Webhook node respond when the last node finishes.'
  if (status >= 200 && status < 300) return 'n8n took the event, and the workflow gave this answer itself.'
  if (status === 404 && /not registered/i.test(body))
    return to === 'test'
      ? 'n8n is not listening on the test URL: open the workflow, choose “Listen for test event” (or “Execute workflow”), and send again. It listens for one call.'
      : 'n8n knows no active workflow with this path and method POST: activate the workflow, and compare path and method with the Webhook node’s production URL.'
  if (status === 404)
    return 'There is something at this address, but no webhook of n8n’s: compare the URL with the Webhook node’s.'
  if (status === 401 || status === 403)
    return 'n8n refuses the authentication: its Webhook node expects a header that this destination does not send, or another value. Set it among the headers of the destination exactly as in the node’s credential.'
  if (status === 429 || status === 503)
    return 'n8n is overloaded or restarting. Deliveries are tried again; lower the rate or the concurrency if this stays.'
  if (status === 500)
    return 'The workflow failed while it answered, or its response mode needs a “Respond to Webhook” node that was not reached: look at its executions.'
  return undefined
}

function plainAnswer(status: number): string {
  if (status >= 200 && status < 300) return 'The receiver took the event.'
  if (status >= 300 && status < 400)
    return 'The receiver redirects. Redirects are never followed: give the address it leads to, if it is yours.'
  if (status === 401 || status === 403)
    return 'The receiver refuses the request: check what it authenticates by (custom headers, the signature’s secret, an allow list of addresses).'
  if (status === 404) return 'The receiver has nothing at this path: check the URL.'
  if (status === 405) return 'The receiver does not take POST at this path: check the URL.'
  if (status === 410)
    return 'The receiver says that this address is gone for good. A delivery with this answer disables the destination.'
  if (status === 413) return 'The receiver refuses the size of the request: raise its body limit.'
  if (status === 429)
    return 'The receiver is asked too often: lower the destination’s rate. Its Retry-After is honoured for deliveries.'
  if (status >= 500) return 'The receiver failed. Deliveries are tried again; look at its log.'
  return 'The receiver refused the request: look at its answer below and at its log.'
}

const REFUSED: Readonly<Record<RefusalReason, string>> = {
  not_a_url: 'The address is not a URL: change it.',
  scheme: 'Only https is used outside your own network: change the URL, or name the host in EGRESS_ALLOW.',
  userinfo: 'A URL with user name or password is refused: send a header instead.',
  port: 'Only port 443 is used outside your own network: change the URL, or name host and port in EGRESS_ALLOW.',
  special_address:
    'The name leads to an address inside a network (or reserved), and such addresses are refused: name host, port and path in EGRESS_ALLOW if it is yours.',
  name_not_found: 'The host name has no address: check its spelling and DNS.',
}

const FAILED: Readonly<Record<FailureCode, string>> = {
  timeout:
    'No answer within the destination’s timeout: see which phase took it, and raise the timeout (30 s at most) or answer before working.',
  aborted: 'The test was cut off because the service is stopping: send it again.',
  connection_refused: 'Nothing listens at this address and port: start the receiver, or correct the URL.',
  connection_reset: 'The receiver, or something between, closed the connection without an answer.',
  unreachable: 'The network of the address cannot be reached from here.',
  name_not_found: 'The host name has no address: check its spelling and DNS.',
  tls: 'The receiver’s certificate is not trusted for this host (another host, expired, self-signed, or of a private authority): renew it, or give the destination its authority’s certificate.',
  bad_answer: 'What came back is not HTTP, or its headers are longer than 16 KiB.',
  network: 'The connection failed for a reason that the system does not name.',
}
