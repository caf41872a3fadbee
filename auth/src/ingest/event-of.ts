/** What a notification says, as the event that is stored. Pure. */
import type { Fact } from '@flovify/providers'
import type { Area } from '../ledger/cloud-event.ts'
import type { NewEvent } from '../ledger/ledger.ts'

const AREAS: Readonly<Record<string, Area>> = {
  mail: 'mail',
  calendar: 'calendar',
  files: 'files',
  relay: 'relay',
}

export function eventOf(provider: string, fact: Fact): NewEvent {
  return {
    type: fact.type,
    area: AREAS[fact.type.slice(0, fact.type.indexOf('.'))] ?? 'lifecycle',
    connectionId: fact.connectionId,
    provider,
    subject: fact.subject,
    time: fact.time,
    originType: fact.originType,
    identity: fact.identity,
    data: fact.data,
  }
}
