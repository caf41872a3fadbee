/**
 * One deadline for a whole request, from its last byte to its answer: judging, storing, and what other rooms have to write
 * down before it is acknowledged. What is late goes on and is answered 503 (its sender repeats it); what becomes of it
 * later is only logged. Never stops any work.
 */
import type { Verdict } from '@flovify/providers'
import { errorFields, type Log } from '../platform/log.ts'
import type { Metrics } from '../platform/metrics.ts'

/** The contract says 2.5 s; half a second of it is left for the queues of a process and a sender with a thousand waiting. */
export const ANSWER_MS = 2_000

/** What cannot be judged in time (a database or a provider that does not answer) is to be repeated. */
export function judgedInTime(verdict: Promise<Verdict>): Promise<Verdict> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(resolve, ANSWER_MS, { kind: 'unavailable', reason: 'judge_slow' })
    verdict.then(resolve, reject).finally(() => clearTimeout(late))
  })
}

/**
 * What another room has to write down before a request is acknowledged.
 * @param leftMs of the request's deadline
 * @param failed said in the log when it could not be written down, in time or later
 * @returns whether it is written down; if not, that is counted, and nothing may be acknowledged
 */
export function writtenInTime(
  needs: { readonly metrics: Metrics; readonly log: Log },
  providerId: string,
  leftMs: number,
  failed: string,
  write: () => Promise<void>,
): Promise<boolean> {
  return new Promise((resolve) => {
    const refuse = (reason: string) => {
      needs.metrics.overloads(reason)
      resolve(false)
    }
    let isLate = false
    const late = setTimeout(() => {
      isLate = true
      refuse('write_slow')
    }, leftMs)
    write()
      .then(
        () => resolve(true),
        (error: unknown) => {
          needs.log.error({ provider: providerId, ...errorFields(error) }, failed)
          if (!isLate) refuse('unavailable')
        },
      )
      .finally(() => clearTimeout(late))
  })
}
