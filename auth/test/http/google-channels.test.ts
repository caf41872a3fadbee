/** WI-01 and WI-14 for channels of Drive and Calendar, through the door: no body, no signature, a token that we gave them. */
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { newId } from '../../src/platform/ids.ts'
import { type ChannelKeys, openChannelKeys } from '../../src/vault/channel-keys.ts'
import { openKeyRing } from '../../src/vault/key-ring.ts'
import { openWorld, type World } from '../world.ts'
import { type DatabaseProxy, openDatabaseProxy } from './database-proxy.ts'
import { forget, stored, until } from './people.ts'
import { type Answer, ask } from './wire.ts'

let proxy: DatabaseProxy
let world: World
let keys: ChannelKeys
const CONNECTION = newId('con')
const DRIVE = newId('sub')
const CALENDAR = newId('sub')
const secrets = { current: '', previous: '', next: '', calendar: '', lost: '' }

beforeAll(async () => {
  proxy = await openDatabaseProxy(inject('postgresUrl'))
  world = await openWorld({ seenAt: proxy.url })
  const key = Buffer.from(world.encryptionKey, 'base64url')
  keys = openChannelKeys(openKeyRing(new Map([['k0', key]]), 'k0'))
  for (const name of Object.keys(secrets) as (keyof typeof secrets)[])
    secrets[name] = keys.mintChannelSecret().reveal()
  const hash = (name: keyof typeof secrets) => createHash('sha256').update(secrets[name]).digest()
  const owner = await world.db.one<{ id: string }>(
    sql`insert into auth.users (email) values ('ada@example.com') returning id::text id`,
  )
  // together: what is connected and not subscribed is subscribed by the service
  await world.db.transaction(async (tx) => {
    await tx.rows(sql`
      insert into auth.oauth_tokens (id, user_id, owner_id, provider, account_key, account_label, status, scope)
      values (${CONNECTION}, ${owner?.id}::int, ${owner?.id}, 'google', 'k', 'ada@example.com', 'active',
              'https://www.googleapis.com/auth/drive https://www.googleapis.com/auth/calendar')`)
    await tx.rows(sql`
      insert into auth.subscriptions (id, connection_id, provider, kind, resource, state, provider_subscription_id, channel_secret_hash,
             channel_key_id, expires_at, previous_secret_hash, previous_provider_subscription_id, previous_expires_at, next_secret_hash, next_channel_key_id)
      values (${DRIVE}, ${CONNECTION}, 'google', 'drive', 'drive/v3/changes', 'active', 'channel-2/resource', ${hash('current')},
              'k0', auth.clock() + interval '6 days', ${hash('previous')}, 'channel-1/resource', auth.clock() + interval '1 hour', ${hash('next')}, 'k0'),
             (${CALENDAR}, ${CONNECTION}, 'google', 'calendar', 'calendar/v3/users/me/calendarList', 'active', 'channel-9/list', ${hash('calendar')},
              'k0', auth.clock() + interval '6 days', null, null, null, null, null)`)
  })
})
afterAll(async () => {
  await proxy.up()
  await world.close()
  await proxy.close()
})
beforeEach(async () => {
  await forget(world.db)
  await world.db.rows(sql`delete from auth.subscription_stops`)
})

/** As it was captured (protocols/google.md §4.3); a header that is undefined is left out. */
function tell(
  secret: string | undefined,
  more: Readonly<Record<string, string | undefined>> = {},
  to = DRIVE,
  body = '',
): Promise<Answer> {
  const headers: Record<string, string | undefined> = {
    'user-agent': 'APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)',
    'content-length': String(body.length),
    accept: '*/*',
    'x-goog-channel-id': 'channel-2',
    'x-goog-channel-token': secret,
    'x-goog-message-number': '1594405',
    'x-goog-resource-id': 'resource',
    'x-goog-resource-state': 'change',
    'x-goog-resource-uri':
      'https://www.googleapis.com/drive/v3/changes?alt=json&oauth_token=canary-of-a-token',
    ...more,
  }
  const given = Object.entries(headers).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, value]],
  )
  return ask(world.publicPort, {
    method: 'POST',
    path: `/webhook/events/google/${keys.mintRef(to)}`,
    headers: Object.fromEntries(given) as Record<string, string>,
    ...(body === '' ? {} : { body }),
  })
}
const stops = () =>
  world.db.rows(sql`select connection_id, provider_subscription_id from auth.subscription_stops`)

describe('WI-01 a channel', () => {
  test('WI-01 an empty message is one event; its number once, whatever the body says', async () => {
    expect((await tell(secrets.current)).status).toBe(200)
    expect(await stored(world.db)).toEqual({ notifications: 1, events: 1 })
    const [row] = await world.db.rows<{ body: Buffer; headers: Buffer }>(
      sql`select body, headers from auth.notifications`,
    )
    expect(row?.body.length).toBe(0)
    // the URI repeats whatever the watch call had in its query
    expect(row?.headers.toString()).not.toMatch(/canary|channel-token/i)
    expect((await tell(secrets.current)).status).toBe(200)
    expect((await stored(world.db)).events).toBe(1)
    // numbers grow, and not by one
    const next = { 'x-goog-message-number': '1699999' }
    expect((await tell(secrets.current, next, DRIVE, '{"kind":"drive#changes"}')).status).toBe(200)
    expect((await stored(world.db)).events).toBe(2)
  })

  test('WI-01 sync is acknowledged and is no event, also before the watch call was answered', async () => {
    const sync = { 'x-goog-message-number': '1', 'x-goog-resource-state': 'sync' }
    expect((await tell(secrets.current, sync)).status).toBe(200)
    expect((await tell(secrets.next, { ...sync, 'x-goog-channel-id': 'channel-3' })).status).toBe(200)
    expect(await stored(world.db)).toMatchObject({ events: 0 })
    expect(await stops()).toEqual([])
  })

  test('WI-16 while two overlap both count, the old one until it expires; then it is ended at its next message', async () => {
    const old = { 'x-goog-channel-id': 'channel-1', 'x-goog-message-number': '7' }
    expect((await tell(secrets.previous, old)).status).toBe(200)
    expect((await tell(secrets.next, { 'x-goog-channel-id': 'channel-3' })).status).toBe(200)
    expect((await stored(world.db)).events).toBe(2)
    // each with its own id alone
    expect((await tell(secrets.previous)).status).toBe(401)
    await world.db.rows(
      sql`update auth.subscriptions set previous_expires_at = auth.clock(), next_secret_hash = null where id = ${DRIVE}`,
    )
    await until(
      'what is known of it is over',
      async () => (await tell(secrets.previous, old)).status === 404,
      15_000,
    )
    // it is the row's own predecessor, which a stop waits for already, if it has not expired
    expect(await stops()).toEqual([])
    expect((await tell(secrets.lost, { 'x-goog-channel-id': 'channel-0' })).status).toBe(404)
    await until('it is to be stopped', async () => (await stops()).length === 1)
    expect(await stops()).toEqual([
      { connection_id: CONNECTION, provider_subscription_id: 'channel-0/resource' },
    ])
  })

  test.each([
    ['no token', undefined, {}, DRIVE, 401],
    ['a guessed token', 'A'.repeat(64), {}, DRIVE, 401],
    ['the token of another subscription', 'calendar', {}, DRIVE, 401],
    ['another channel', 'current', { 'x-goog-channel-id': 'channel-8' }, DRIVE, 401],
    ['another resource', 'current', { 'x-goog-resource-id': 'list' }, DRIVE, 401],
    ['no channel id', 'current', { 'x-goog-channel-id': undefined }, DRIVE, 400],
    ['no state', 'current', { 'x-goog-resource-state': undefined }, DRIVE, 400],
    ['the URL of another one', 'current', {}, CALENDAR, 401],
  ])(
    'WI-01 %s is refused with a status that Google does not repeat, and nothing is stored',
    async (_name, name, more, to, status) => {
      const secret = name === undefined ? undefined : (secrets[name as keyof typeof secrets] ?? name)
      expect((await tell(secret, more, to)).status).toBe(status)
      expect(await stored(world.db)).toMatchObject({ events: 0 })
      expect(await stops()).toEqual([])
    },
  )

  test('WI-14 while the database is down: 503, which Google repeats; then its repetition is stored once', async () => {
    await tell(secrets.current, { 'x-goog-message-number': '1' })
    await proxy.down()
    const number = { 'x-goog-message-number': '2000000' }
    expect((await tell(secrets.current, number)).status).toBe(503)
    // and what is forged is refused without the database
    expect((await tell('A'.repeat(64), number)).status).toBe(401)
    await proxy.up()
    await until('the repetition is stored', async () => (await tell(secrets.current, number)).status === 200)
    expect((await stored(world.db)).events).toBe(2)
  })
})
