/** Which headers of a notification are stored with it. */
import type { NotificationRequest } from '@flovify/providers'

/** Headers worth keeping as evidence. Never credentials: no authorization, no cookie, no signature, no token. */
const KEPT_HEADERS = [
  'content-type',
  'user-agent',
  'date',
  'x-goog-message-number',
  'x-goog-resource-state',
  'x-goog-channel-id',
  'x-goog-resource-id',
  'x-goog-changed',
]

export function keptHeaders(request: NotificationRequest): Record<string, readonly string[]> {
  const kept: Record<string, readonly string[]> = {}
  for (const name of KEPT_HEADERS) {
    const values = request.headers[name]
    if (values !== undefined) kept[name] = values
  }
  return kept
}
