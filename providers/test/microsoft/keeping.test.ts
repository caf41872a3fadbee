/** Outlook's mail and calendar and OneDrive, held to the contract of subscriptions. */
import { microsoft } from '../../src/microsoft/index.ts'
import { describeSubscriptions, type WatchedFixture } from '../conformance-subscriptions.ts'
import { startMicrosoft } from './world.ts'

const SUBSCRIPTIONS = '/v1.0/subscriptions'
const ONE = `${SUBSCRIPTIONS}/their-id%2Fresource-id`

const watched = (resource: string, check: string, found: object): WatchedFixture => ({
  resource,
  paths: { create: SUBSCRIPTIONS, renew: ONE, stop: ONE, check },
  sendsSecret: true,
  good: (clock, lifeMs) => {
    const body = { id: 'graph-1', expirationDateTime: new Date(clock.now.getTime() + lifeMs).toISOString() }
    return {
      [SUBSCRIPTIONS]: { status: 201, body },
      [ONE]: { status: 200, body },
      [check]: { status: 200, body: found },
    }
  },
})

describeSubscriptions(microsoft, {
  start: startMicrosoft,
  scopes: ['Mail.Read', 'Calendars.Read', 'Files.ReadWrite.All'],
  watched: [
    watched('me/messages', '/v1.0/me/messages', {
      value: [{ id: 'a', lastModifiedDateTime: '2026-11-01T10:00:00Z' }],
    }),
    watched('me/events', '/v1.0/me/events', { value: [] }),
    watched('me/drive/root', '/v1.0/me/drive/root/delta', {
      value: [],
      '@odata.deltaLink': 'https://graph.example/v1.0/me/drive/root/delta?token=7',
    }),
  ],
})
