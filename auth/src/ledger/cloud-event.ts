/**
 * One event as a CloudEvent 1.0 in JSON: the bytes that are stored and later delivered, unchanged by anything in
 * between. Source: CloudEvents 1.0.2 §3, JSON format §2. Never holds a token, a code or a channel secret.
 */
import type { JsonObject } from '@flovify/providers'
import type { EventId } from '../platform/ids.ts'

export type Area = 'mail' | 'calendar' | 'files' | 'relay' | 'lifecycle'

/** An event that somebody wants recorded. */
export interface NewEvent {
  /** Without prefix: `connection.v1.created`. */
  readonly type: string
  readonly area: Area
  readonly connectionId?: string | undefined
  /** Whose event it is, where no connection tells. */
  readonly ownerId?: string | undefined
  readonly provider?: string | undefined
  readonly subject?: string | undefined
  readonly time?: Date | undefined
  readonly originType?: string | undefined
  /** The provider's own identity, for exact dedupe within the connection. Absent: always new. */
  readonly identity?: string | undefined
  readonly data: JsonObject
}

export interface Naming {
  /** Reverse DNS name before every type: `ca.flovify`. */
  readonly typePrefix: string
  /** Origin of the event sources: the public webhook origin. */
  readonly origin: string
}

export function typeOf(naming: Naming, event: NewEvent): string {
  return `${naming.typePrefix}.${event.type}`
}

/** As it was told. */
export function bareType(naming: Naming, type: string): string {
  return type.slice(naming.typePrefix.length + 1)
}

/** One ordered sequence of events: a connection's area, or what has no connection. */
export function sourceOf(naming: Naming, event: NewEvent): string {
  if (event.connectionId !== undefined)
    return `${naming.origin}/connections/${event.connectionId}/${event.area}`
  return `${naming.origin}/${event.area}${event.provider === undefined ? '' : `/${event.provider}`}`
}

/** @param recordedAt when the ledger saw it; also `time` where the provider names none */
export function cloudEvent(naming: Naming, id: EventId, event: NewEvent, recordedAt: Date): Buffer {
  const recorded = recordedAt.toISOString()
  const envelope = {
    specversion: '1.0',
    id,
    type: typeOf(naming, event),
    source: sourceOf(naming, event),
    subject: event.subject,
    time: event.time?.toISOString() ?? recorded,
    recordedtime: recorded,
    provider: event.provider,
    origintype: event.originType,
    datacontenttype: 'application/json',
    data: event.data,
  }
  return Buffer.from(JSON.stringify(envelope), 'utf8')
}

/** An example for a destination that is being tried out: never stored, about nothing but the destination itself. */
export function testEvent(naming: Naming, id: EventId, destinationId: string, at: Date): Buffer {
  return cloudEvent(
    naming,
    id,
    {
      type: 'destination.v1.test',
      area: 'lifecycle',
      subject: `destinations/${destinationId}`,
      time: at,
      data: { message: 'This is a test event of Flovify Connect. Nothing has happened.' },
    },
    at,
  )
}
