/**
 * The demo's timeline of one provider as text: what happened, and how many milliseconds after its beginning. Pure.
 */

import type { EventView } from '@flovify/client'
import type { Receipt } from './receiver.ts'
import type { SimulatedProvider } from './settings.ts'

export interface Story {
  readonly provider: SimulatedProvider
  readonly label: string
  readonly account: string
  /** From the click on "connect" to the completed connection. */
  readonly connectedMs: number
  /** From the click to the provider's confirmation of the subscription. */
  readonly subscribedMs: number
  /** Milliseconds since 1970 when the message was sent. */
  readonly sentAt: number
  readonly event: EventView
  readonly receipt: Receipt
}

export function timeline(story: Story): string {
  const { event, receipt, sentAt } = story
  const after = (time: string | null | undefined) =>
    time == null ? undefined : Math.max(0, Date.parse(time) - sentAt)
  const delivery = event.deliveries[0]
  const attempts = delivery?.attempts.length ?? 0
  const rows: [number | undefined, string][] = [
    [story.connectedMs, `connected ${story.account}`],
    [story.subscribedMs, 'subscription confirmed by the provider'],
    [0, 'a message arrives at the provider'],
    [after(event.received_at), `push received${event.origin_type === null ? '' : ` (${event.origin_type})`}`],
    // Judging comes before storing and has no time of its own: what is not genuine never becomes an event.
    [after(event.recorded_at), `verified and stored as ${event.type}`],
    [after(receipt.receivedAt), 'signature verified by the receiver'],
    [after(delivery?.finished_at), `delivered (${attempts} ${attempts === 1 ? 'attempt' : 'attempts'})`],
  ]
  const lines = rows.map(([ms, what]) => `  ${(ms === undefined ? '?' : String(ms)).padStart(6)} ms  ${what}`)
  return ['', story.label, ...lines].join('\n')
}
