import { Webhook } from 'standardwebhooks'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { dropEndedSecrets } from '../../src/delivery/destination-store.ts'
import type { DestinationValues } from '../../src/delivery/destination-values.ts'
import { type Destinations, type NewDestination, openDestinations } from '../../src/delivery/destinations.ts'
import { type Egress, openEgress } from '../../src/delivery/egress.ts'
import { sendTest } from '../../src/delivery/send-test.ts'
import { newId } from '../../src/platform/ids.ts'
import { type TestDatabase, testDatabase } from '../database.ts'
import { makeCertificate } from './certificates.ts'
import { type Receiver, startReceiver } from './receiver.ts'
import { vault } from './world.ts'

let t: TestDatabase
let destinations: Destinations
let egress: Egress
let receiver: Receiver

beforeAll(async () => {
  t = await testDatabase()
})
afterAll(() => t.close())
beforeEach(async () => {
  await t.db.rows(sql`truncate auth.destinations, auth.audit cascade`)
  receiver = await startReceiver()
  egress = openEgress({ allow: [{ host: '127.0.0.1', port: receiver.port, pathPrefix: '/' }] })
  destinations = openDestinations({
    db: t.db,
    vault,
    egress,
    rules: { disableFor: async () => {}, ensureEverything: async () => {}, reload: async () => {} },
  })
})
afterEach(async () => {
  await egress.close()
  await receiver.close()
})

const at = (path: string) => `http://127.0.0.1:${receiver.port}${path}`
const create = async (more: Partial<NewDestination> = {}) => {
  const made = await destinations.create('user:1', { name: 'n', url: at('/webhook/orders'), ...more })
  if (made.kind !== 'created') throw new Error(JSON.stringify(made))
  return made
}
const tryOut = async (id: string, to: 'production' | 'test' = 'production') => {
  const needs = {
    db: t.db,
    vault,
    egress,
    clock: { now: () => new Date() },
    naming: { typePrefix: 'ca.flovify', origin: 'https://webhooks.example' },
    version: '1',
  }
  const outcome = await sendTest(needs, 'user:1', id, to)
  if (outcome.kind !== 'sent') throw new Error(outcome.kind)
  return outcome.report
}
const audits = () => t.db.rows(sql`select action, detail from auth.audit order by id`)
const everything = async () =>
  JSON.stringify([await t.db.rows(sql`select * from auth.destinations`), await audits()])

describe('a destination’s settings', () => {
  test('DO-05 headers are sealed, never shown, sent exactly as given, and replaced as a whole', async () => {
    const { id } = await create({ headers: { 'X-Key': 'canary-one', authorization: 'Basic canary-two' } })
    expect((await destinations.find(id))?.header_names).toEqual(['x-key', 'authorization'])
    expect(await everything()).not.toContain('canary')
    await tryOut(id)
    expect(receiver.requests[0]?.headers).toMatchObject({
      'x-key': 'canary-one',
      authorization: 'Basic canary-two',
    })
    await destinations.change('user:1', id, { headers: { 'x-other': 'canary-three' } })
    await tryOut(id)
    expect(receiver.requests[1]?.headers).toMatchObject({ 'x-other': 'canary-three' })
    expect(receiver.requests[1]?.headers['x-key']).toBeUndefined()
    await destinations.change('user:1', id, { headers: {} })
    expect((await destinations.find(id))?.header_names).toEqual([])
    expect(await everything()).not.toContain('canary')
  })

  test('the test address of n8n follows the production address, unless it was given', async () => {
    const { id } = await create({ kind: 'n8n' })
    const after = async (values: DestinationValues) => {
      const outcome = await destinations.change('user:1', id, values)
      if (outcome.kind !== 'changed') throw new Error(outcome.kind)
      return outcome.destination.test_url
    }
    expect(await after({ url: at('/webhook/two') })).toBe(at('/webhook-test/two'))
    expect(await after({ name: 'other' })).toBe(at('/webhook-test/two'))
    const own = at('/webhook-test/own')
    expect(await after({ testUrl: own })).toBe(own)
    expect(await after({ url: at('/webhook/three') })).toBe(own)
    expect(await after({ testUrl: null })).toBe(at('/webhook-test/three'))
    // not of n8n's naming: nothing follows from it, until it is again
    expect(await after({ url: at('/elsewhere') })).toBeNull()
    expect(await after({ url: at('/webhook/four') })).toBe(at('/webhook-test/four'))
    expect(await after({ kind: 'http' })).toBeNull()
    expect(await after({ name: 'still http' })).toBeNull()
    expect(await after({ kind: 'n8n' })).toBe(at('/webhook-test/four'))
  })

  test('a change of the kind that comes between is heeded: by what the destination is now', async () => {
    const { id } = await create()
    const own = at('/webhook-test/own')
    const whileItChanges = async (values: DestinationValues) => {
      const changing: ReturnType<Destinations['change']>[] = []
      await t.db.transaction(async (tx) => {
        const [kind, testUrl] = values.testUrl === undefined ? ['n8n', own] : ['http', null]
        await tx.rows(
          sql`update auth.destinations set kind = ${kind}, test_url = ${testUrl} where id = ${id}`,
        )
        changing.push(destinations.change('user:1', id, values))
        await expect
          .poll(() =>
            t.db.rows(sql`
              select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`),
          )
          .toHaveLength(1)
      })
      return changing[0]
    }
    expect(await whileItChanges({ name: 'other' })).toMatchObject({
      destination: { kind: 'n8n', test_url: own },
    })
    // n8n when it was judged, http when it is written
    expect(await whileItChanges({ testUrl: at('/webhook-test/two') })).toMatchObject({ kind: 'invalid' })
    expect(await destinations.find(id)).toMatchObject({ kind: 'http', test_url: null })
  })

  test('DO-05 stored headers do not follow to another place, neither by url nor by test_url: they are given again, or none', async () => {
    const elsewhere = await startReceiver()
    const two = openEgress({
      allow: [receiver, elsewhere].map(({ port }) => ({ host: '127.0.0.1', port, pathPrefix: '/' })),
    })
    const there = openDestinations({
      db: t.db,
      vault,
      egress: two,
      rules: { disableFor: async () => {}, ensureEverything: async () => {}, reload: async () => {} },
    })
    try {
      const { id } = await create({ kind: 'n8n', headers: { 'x-key': 'canary-one' } })
      const moved = `http://127.0.0.1:${elsewhere.port}/hook`
      const before = await everything()
      for (const values of [{ url: moved }, { testUrl: moved }, { url: at('/x'), testUrl: moved }])
        expect(await there.change('user:1', id, values)).toEqual({ kind: 'headers_needed' })
      expect(await everything()).toBe(before)
      // another path is the same place
      expect((await there.change('user:1', id, { url: at('/webhook/moved') })).kind).toBe('changed')
      const given = { url: moved, headers: { 'x-key': 'canary-two' } }
      expect((await there.change('user:1', id, given)).kind).toBe('changed')
      expect((await audits()).at(-1)).toMatchObject({
        detail: { url: `127.0.0.1:${receiver.port} → 127.0.0.1:${elsewhere.port}`, header_values: 'set' },
      })
      const none = { url: at('/webhook/back'), testUrl: null, headers: {} }
      expect(await there.change('user:1', id, none)).toMatchObject({ destination: { header_names: [] } })
      // nothing is stored any more that could follow
      expect((await there.change('user:1', id, { url: moved })).kind).toBe('changed')
      expect(elsewhere.requests).toEqual([])
    } finally {
      await two.close()
      await elsewhere.close()
    }
  })

  test('DO-05 bad headers, plans, statuses and authorities are refused at once, all mistakes together, nothing changed', async () => {
    const { id } = await create()
    const before = await everything()
    const leaf = makeCertificate({ name: 'no authority' })
    const outcome = await destinations.change('user:1', id, {
      name: 'other',
      headers: { 'x-a': 'one\r\nhost: evil' },
      retrySchedule: [0],
      retryStatuses: [200],
      ca: leaf.cert,
      testUrl: at('/webhook-test/x'),
    })
    expect(outcome).toMatchObject({ kind: 'invalid', mistakes: { length: 5 } })
    for (const ca of [
      'nonsense',
      leaf.key,
      `${makeCertificate({ name: 'a', authority: true }).cert}${leaf.key}`,
    ])
      expect(await destinations.change('user:1', id, { ca })).toMatchObject({ kind: 'invalid' })
    expect(await everything()).toBe(before)
  })

  test('DO-01 an address that the guard refuses cannot be changed to, nor tested', async () => {
    const { id } = await create({ kind: 'n8n' })
    const metadata = 'http://169.254.169.254/'
    for (const values of [{ url: metadata }, { testUrl: metadata }])
      expect(await destinations.change('user:1', id, values)).toEqual({
        kind: 'egress_refused',
        reason: 'special_address',
      })
    await t.db.rows(sql`update auth.destinations set url = ${metadata}`)
    expect(await tryOut(id)).toMatchObject({
      delivered: false,
      error: 'egress_special_address',
      status: null,
    })
  })

  test('what does not change the address does not judge it again: its name may be away this moment', async () => {
    const { id } = await create()
    const strict = openEgress({ allow: [] })
    const later = openDestinations({
      db: t.db,
      vault,
      egress: strict,
      rules: { disableFor: async () => {}, ensureEverything: async () => {}, reload: async () => {} },
    })
    expect((await later.change('user:1', id, { timeoutMs: 5_000 })).kind).toBe('changed')
    expect((await later.change('user:1', id, { url: at('/webhook/other') })).kind).toBe('egress_refused')
    expect((await later.find(id))?.url).toBe(at('/webhook/orders'))
    await strict.close()
  })

  test('changes are written alone, told, and audited with before and after, of addresses the host only', async () => {
    const { id } = await create()
    const ca = makeCertificate({ name: 'Authority', authority: true }).cert
    const values = {
      name: 'new',
      concurrency: 5,
      ratePerSecond: 20,
      retrySchedule: [1, 60],
      retryStatuses: [503],
      ca,
    }
    expect(await destinations.change('user:2', id, { ...values, url: at('/secret-path') })).toMatchObject({
      kind: 'changed',
      destination: {
        name: 'new',
        concurrency: 5,
        rate_per_second: 20,
        retry_schedule: [1, 60],
        retry_statuses: [503],
        ca,
      },
    })
    const back = { ratePerSecond: null, retrySchedule: null, retryStatuses: null, ca: null }
    expect(await destinations.change('user:2', id, back)).toMatchObject({
      destination: {
        name: 'new',
        rate_per_second: null,
        retry_schedule: null,
        retry_statuses: null,
        ca: null,
      },
    })
    const told = await audits()
    expect(told).toMatchObject([
      { action: 'destination.created' },
      {
        action: 'destination.changed',
        detail: { name: 'n → new', concurrency: '10 → 5', rate_per_second: 'none → 20' },
      },
      { action: 'destination.changed', detail: { rate_per_second: '20 → none', ca: 'given → none' } },
    ])
    expect(JSON.stringify(told)).not.toContain('secret-path')
    expect(await destinations.change('user:2', newId('dst'), { name: 'x' })).toEqual({ kind: 'unknown' })
  })

  test('a pause is said once, resume ends it, and takes a disabled destination into use again', async () => {
    const { id } = await create()
    expect(await destinations.pause('user:1', id)).toMatchObject({ paused: true })
    expect(await destinations.pause('user:1', id)).toMatchObject({ paused: true })
    await t.db.rows(sql`update auth.destinations set disabled_at = auth.clock(), disabled_reason = 'gone'`)
    expect(await destinations.resume('user:1', id)).toMatchObject({ paused: false, disabled_at: null })
    expect(await destinations.resume('user:1', newId('dst'))).toBeUndefined()
    expect((await audits()).map((row) => (row as { action: string }).action)).toEqual([
      'destination.created',
      'destination.paused',
      'destination.resumed',
    ])
  })
})

describe('rotation of a signing secret', () => {
  const verifies = (secret: string) => {
    const request = receiver.requests.at(-1)
    const headers = request?.headers as Record<string, string>
    try {
      new Webhook(secret).verify(request?.body.toString() ?? '', headers)
      return true
    } catch {
      return false
    }
  }

  test('DO-04 both secrets verify during the overlap, the earlier one no more after it, and is not kept', async () => {
    const { id, secret: first } = await create()
    const rotated = await destinations.rotate('user:1', id, { overlapSeconds: 60, replaceRunning: false })
    if (rotated.kind !== 'rotated') throw new Error(rotated.kind)
    await tryOut(id)
    expect([verifies(first), verifies(rotated.secret)]).toEqual([true, true])
    await t.db.rows(
      sql`update auth.destinations set previous_secret_until = auth.clock() - interval '1 second'`,
    )
    await tryOut(id)
    expect([verifies(first), verifies(rotated.secret)]).toEqual([false, true])
    await dropEndedSecrets(t.db)
    expect(await t.db.one(sql`select previous_secret, previous_secret_until from auth.destinations`)).toEqual(
      {
        previous_secret: null,
        previous_secret_until: null,
      },
    )
    expect(await everything()).not.toContain(rotated.secret.slice(6))
  })

  test('a second rotation during the overlap is refused unless it is meant, and an overlap of nothing ends the earlier at once', async () => {
    const { id, secret: first } = await create()
    const rotate = (overlapSeconds: number, replaceRunning: boolean) =>
      destinations.rotate('user:1', id, { overlapSeconds, replaceRunning })
    const second = await rotate(60, false)
    expect(await rotate(60, false)).toMatchObject({ kind: 'still_overlapping' })
    const third = await rotate(60, true)
    if (second.kind !== 'rotated' || third.kind !== 'rotated') throw new Error('not rotated')
    await tryOut(id)
    expect([first, second.secret, third.secret].map(verifies)).toEqual([false, true, true])
    expect(await rotate(0, true)).toMatchObject({ kind: 'rotated', previousUntil: null })
    await tryOut(id)
    expect(verifies(third.secret)).toBe(false)
    expect(
      await destinations.rotate('user:1', newId('dst'), { overlapSeconds: 0, replaceRunning: true }),
    ).toEqual({
      kind: 'unknown',
    })
  })
})

describe('a test event', () => {
  const n8n: Receiver['answer'] = (request, response) => {
    if (request.headers['x-n8n-key'] !== 'right-credential')
      response.writeHead(403).end('Authorization data is wrong!')
    else if (request.url?.startsWith('/webhook-test/'))
      response
        .writeHead(404, { 'content-type': 'application/json' })
        .end('{"code":404,"message":"The requested webhook \\"orders\\" is not registered."}')
    else
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end('{"message":"Workflow was started","echo":"right-credential"}')
  }

  test('to n8n goes to its production or test URL, with its header, and its answers are explained', async () => {
    receiver.answer = n8n
    const { id } = await create({ kind: 'n8n', headers: { 'x-n8n-key': 'right-credential' } })
    expect((await destinations.find(id))?.test_url).toBe(at('/webhook-test/orders'))
    const started = await tryOut(id)
    expect(started).toMatchObject({ delivered: true, status: 200, error: null })
    expect(started.explanation).toMatch(/started the workflow/)
    // a receiver that echoes its request does not make us show its password
    expect(started.body).toBe('{"message":"Workflow was started","echo":"[redacted]"}')
    const deaf = await tryOut(id, 'test')
    expect(deaf.explanation).toMatch(/not listening on the test URL/)
    expect(receiver.requests.map((request) => request.path)).toEqual([
      '/webhook/orders',
      '/webhook-test/orders',
    ])
    await destinations.change('user:1', id, { headers: { 'x-n8n-key': 'wrong' } })
    expect((await tryOut(id)).explanation).toMatch(/refuses the authentication/)
    receiver.answer = (_request, response) =>
      response.writeHead(404).end('The requested webhook "POST orders" is not registered.')
    expect((await tryOut(id)).explanation).toMatch(/activate the workflow/)
  })

  test('is a CloudEvent of its own type that is stored nowhere, and audited', async () => {
    const { id } = await create()
    const report = await tryOut(id)
    expect(JSON.parse(receiver.requests[0]?.body.toString() ?? '')).toMatchObject({
      id: report.eventId,
      type: 'ca.flovify.destination.v1.test',
      subject: `destinations/${id}`,
    })
    expect(await t.db.rows(sql`select id from auth.events`)).toEqual([])
    expect(await t.db.rows(sql`select id from auth.deliveries`)).toEqual([])
    expect(await audits()).toMatchObject([
      {},
      { action: 'destination.tested', detail: { to: 'production', status: 204 } },
    ])
  })

  test('a test address is n8n’s alone, and the production URL is not the test one', async () => {
    const { id } = await create()
    await expect(tryOut(id, 'test')).rejects.toThrow('no_test_url')
    const made = await destinations.create('user:1', {
      name: 'x',
      kind: 'n8n',
      url: at('/webhook-test/orders'),
    })
    expect(made).toMatchObject({ kind: 'invalid' })
    const { id: other } = await create({ kind: 'n8n' })
    expect(await destinations.change('user:1', other, { kind: 'http' })).toMatchObject({
      destination: { kind: 'http', test_url: null },
    })
  })
})
