/**
 * The public door of connecting, as a function that the public server calls: translates a callback request for the room
 * and its outcome into an answer. Never decides, never puts anything of the request into the answer or the log.
 */

import { type CallbackNeeds, type CallbackOutcome, receiveCallback } from '../connections/callback.ts'
import type { CallbackRequest } from '../connections/callback-parameters.ts'
import { errorFields, type Log } from '../platform/log.ts'
import {
  type CallbackAnswer,
  CONSENT_DECLINED,
  CONSENT_GIVEN,
  REFUSED,
  redirectTo,
  UNAVAILABLE,
  UNKNOWN_PROVIDER,
} from './callback-page.ts'

export interface CallbackDoorNeeds extends CallbackNeeds {
  /** Public origin of the console, without a slash at the end: the only place a browser is ever sent to. */
  readonly consoleOrigin: string
  readonly log: Log
}

export interface CallbackDoorRequest extends CallbackRequest {
  /** Provider id of the path. */
  readonly provider: string
}

export function openCallbackDoor(
  needs: CallbackDoorNeeds,
): (request: CallbackDoorRequest) => Promise<CallbackAnswer> {
  return async (request) => {
    try {
      return answer(needs.consoleOrigin, await receiveCallback(needs, request.provider, request))
    } catch (error) {
      needs.log.error(errorFields(error), 'a callback could not be stored')
      return UNAVAILABLE
    }
  }
}

function answer(consoleOrigin: string, outcome: CallbackOutcome): CallbackAnswer {
  switch (outcome.kind) {
    case 'parked':
      // a fragment is sent to no server and in no Referer
      return redirectTo(
        `${consoleOrigin}/auth/success?provider=${encodeURIComponent(outcome.provider)}#ticket=${outcome.ticket.reveal()}`,
      )
    case 'ended':
      return redirectTo(`${consoleOrigin}/auth/error?reason=${outcome.reason}`)
    case 'admin_consent':
      return outcome.granted ? CONSENT_GIVEN : CONSENT_DECLINED
    case 'refused':
      return REFUSED
    case 'unknown_provider':
      return UNKNOWN_PROVIDER
    default:
      return outcome satisfies never
  }
}
