/** A question to one of Google's APIs, with the access token of an account. */
import { type HttpAnswer, send, transportFailure } from '../../http-answer.ts'
import type { Failure, Host, SubscriptionQuestion } from '../../provider.ts'

export type Failed = { readonly kind: 'failed'; readonly failure: Failure }
export type Ask = (url: string) => Promise<{ kind: 'answered'; answer: HttpAnswer } | Failed>

export const asking =
  (host: Host, question: Omit<SubscriptionQuestion, 'resource'>): Ask =>
  async (url) => {
    const outcome = await send(host, {
      method: 'GET',
      url,
      headers: { authorization: `Bearer ${question.accessToken.reveal()}` },
      signal: question.signal,
    })
    return outcome.kind === 'failed' ? { kind: 'failed', failure: transportFailure(outcome.code) } : outcome
  }
