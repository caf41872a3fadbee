/** Google's mailbox, drive, calendar list and one calendar, held to the contract of subscriptions. */
import { google } from '../../src/google/index.ts'
import { describeSubscriptions, type WatchedFixture } from '../conformance-subscriptions.ts'
import { startGoogle } from './world.ts'

const channel = (resource: string, check: string, found: object): WatchedFixture => {
  const api = resource.startsWith('drive') ? 'drive' : 'calendar'
  const create = `/${resource}/watch`
  const stop = `/${api}/v3/channels/stop`
  return {
    resource,
    paths: { create, stop, check },
    sendsSecret: true,
    good: (clock, lifeMs) => ({
      '/drive/v3/changes/startPageToken': { status: 200, body: { startPageToken: '7' } },
      [create]: {
        status: 200,
        body: { id: 'channel', resourceId: 'res', expiration: String(clock.now.getTime() + lifeMs) },
      },
      [stop]: { status: 204 },
      [check]: { status: 200, body: found },
    }),
  }
}

describeSubscriptions(google, {
  start: startGoogle,
  scopes: ['gmail.readonly', 'drive', 'calendar'].map((name) => `https://www.googleapis.com/auth/${name}`),
  watched: [
    {
      resource: 'gmail',
      paths: {
        create: '/gmail/v1/users/me/watch',
        renew: '/gmail/v1/users/me/watch',
        stop: '/gmail/v1/users/me/stop',
        check: '/gmail/v1/users/me/history',
      },
      sendsSecret: false,
      good: (clock, lifeMs) => ({
        '/gmail/v1/users/me/watch': {
          status: 200,
          body: { historyId: '5', expiration: String(clock.now.getTime() + lifeMs) },
        },
        '/gmail/v1/users/me/stop': { status: 204 },
        '/gmail/v1/users/me/profile': { status: 200, body: { historyId: '5' } },
        '/gmail/v1/users/me/history': { status: 200, body: { historyId: '5' } },
      }),
    },
    channel('drive/v3/changes', '/drive/v3/changes', { changes: [], newStartPageToken: '7' }),
    channel('calendar/v3/users/me/calendarList', '/calendar/v3/users/me/calendarList', {
      items: [{ id: 'a' }],
    }),
    channel('calendar/v3/calendars/a/events', '/calendar/v3/calendars/a/events', { items: [] }),
  ],
})
