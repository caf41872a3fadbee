/** Admission by address: whose request it is, what a flood costs its sender, and that nobody else pays. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Seeded, seedSubscription } from '../../../e2e/src/seed.ts'
import { readWebhookAddresses } from '../../src/config-values.ts'
import { sql } from '../../src/db/sql.ts'
import { BURST, openAddressGate, PER_SECOND } from '../../src/http/address-gate.ts'
import { clientAddress, networkOf, readProxies } from '../../src/http/client-address.ts'
import { openWorld, type World } from '../world.ts'
import { stored } from './people.ts'
import { ask } from './wire.ts'

const proxies = (value: string | undefined) => {
  const read = readProxies(value)
  if ('wrong' in read) throw new Error(read.wrong)
  return read.trusted
}

describe('whose request it is', () => {
  test.each([
    ['no proxy is known: nobody is named', undefined, '10.0.0.1', ['203.0.113.9'], undefined],
    ['there is no proxy: the peer, whatever it says', 'none', '203.0.113.9', ['198.51.100.1'], '203.0.113.9'],
    ['through a proxy of ours', '10.0.0.0/8', '10.0.0.1', ['203.0.113.9'], '203.0.113.9'],
    ['a client that forges a hop', '10.0.0.0/8', '10.0.0.1', ['198.51.100.1, 203.0.113.9'], '203.0.113.9'],
    ['two proxies, two headers', '10.0.0.0/8', '::ffff:10.0.0.1', ['203.0.113.9', '10.2.0.1'], '203.0.113.9'],
    ['past the proxies', '10.0.0.0/8', '203.0.113.9', ['198.51.100.1'], '203.0.113.9'],
    ['an entry that is no address', '10.0.0.0/8', '10.0.0.1', ['198.51.100.1, x'], undefined],
    ['proxies alone', '10.0.0.0/8', '10.0.0.1', [], undefined],
    ['a hop with its port', '10.0.0.0/8', '10.0.0.1', ['203.0.113.9:4711, 10.2.0.1:80'], '203.0.113.9'],
    ['IPv6 with its port', 'fd00::/8', 'fd00::1', ['[2001:db8::7]:4711, [fd00::2]'], '2001:db8::7'],
    ['IPv4 in IPv6 with its port', '10.0.0.0/8', '10.0.0.1', ['[::ffff:203.0.113.9]:4711'], '203.0.113.9'],
    ['a port that is none', '10.0.0.0/8', '10.0.0.1', ['203.0.113.9:http'], undefined],
    ['an address that only begins like one', '10.0.0.0/8', '10.0.0.1', ['203.0.113.9:1:2'], undefined],
    ['IPv6', 'fd00::/8', 'fd00::1', ['2001:DB8:0:1:2:3:4:5'], '2001:DB8:0:1:2:3:4:5'],
  ])('%s', (_name, trusted, remote, forwarded, expected) => {
    expect(clientAddress(proxies(trusted), remote, forwarded)).toBe(expected)
  })

  test.each(['x', '10.0.0.0/33', '10.0.0.0/8/8', '::/129', '10.0.0.1,', '10.0.0.0/-1'])(
    'OP-06 %s is a mistake',
    (value) => {
      expect(readProxies(value)).toEqual({ wrong: expect.stringContaining('10.0.0.0/8') })
    },
  )
})

describe('whom a limit counts as one', () => {
  test.each([
    ['203.0.113.9', '203.0.113.9'],
    ['2001:DB8:0:1:2:3:4:5', '2001:db8:0:1::/64'],
    ['2001:db8::7', '2001:db8:0:0::/64'],
  ])('%s', (address, expected) => {
    expect(networkOf(address)).toBe(expected)
  })
})

describe('a gate', () => {
  test('bars who was refused too often, until time has passed, and keeps a bounded number', () => {
    let now = 0
    const gate = openAddressGate(() => now)
    for (let n = 0; n < BURST; n += 1) {
      expect(gate.isBarred('a')).toBe(false)
      gate.refused('a', 1)
    }
    expect(gate.isBarred('a')).toBe(true)
    expect(gate.isBarred('b')).toBe(false)
    now += 1_000
    expect(gate.isBarred('a')).toBe(false)
    for (let n = 0; n < PER_SECOND; n += 1) gate.refused('a', 1)
    expect(gate.isBarred('a')).toBe(true)
    for (let n = 0; n < 10_000; n += 1) gate.refused(`c${n}`, 1)
    expect(gate.isBarred('a')).toBe(false)
  })

  test('counts each forgery of a request, and lets nobody owe more than twenty seconds', () => {
    let now = 0
    const gate = openAddressGate(() => now)
    gate.refused('a', BURST - 1)
    expect(gate.isBarred('a')).toBe(false)
    gate.refused('a', 1_000_000)
    expect(gate.isBarred('a')).toBe(true)
    now += 1_000 + (BURST / PER_SECOND) * 1_000
    expect(gate.isBarred('a')).toBe(false)
  })
})

describe('WI-09 the public door', () => {
  let world: World
  let seeded: Seeded
  beforeAll(async () => {
    world = await openWorld({ environment: { TRUSTED_PROXIES: '127.0.0.1' } })
    seeded = await seedSubscription(world.database.url, world.encryptionKey, 'mine@example.com')
  })
  afterAll(() => world.close())
  const post = (path: string, from: string, body: string | Buffer = '{}') =>
    ask(world.publicPort, {
      method: 'POST',
      path,
      body,
      headers: { 'content-type': 'application/json', 'x-forwarded-for': from },
    })

  test('answers 503 to who floods it, before its body is read, and serves everybody else', async () => {
    for (let n = 0; n < BURST; n += 1)
      expect([401, 404]).toContain((await post('/webhook/events/microsoft/forged', '203.0.113.9')).status)
    // some refusals come back with time
    const flood = await Promise.all(
      Array.from({ length: 100 }, () => post('/webhook/events/microsoft/forged', '203.0.113.9')),
    )
    const barred = flood.filter(({ status }) => status === 503)
    expect(barred.length).toBeGreaterThan(0)
    expect(barred[0]?.headers['retry-after']).toBe('5')
    expect((await post(seeded.path, '198.51.100.7', seeded.notification('other'))).status).toBe(202)
    expect((await stored(world.db)).events).toBe(1)
  })

  test('each item that anybody could have written costs its sender; what has a secret of ours costs nothing', async () => {
    const items = (body: Buffer, count: number, change: (item: Record<string, unknown>) => object) => {
      const { value } = JSON.parse(body.toString()) as { value: Record<string, unknown>[] }
      const [item = {}] = value
      return JSON.stringify({ value: [item, ...Array.from({ length: count }, () => change(item))] })
    }
    const forged = (count: number) =>
      items(seeded.notification(`beside ${count}`), count, (item) => ({ ...item, clientState: 'guessed' }))
    const strange = (count: number) =>
      items(seeded.notification(`strange ${count}`), count, (item) => ({ ...item, changeType: 'unheard of' }))
    // what Graph itself may send, however much of it
    for (let n = 0; n < 3; n += 1)
      expect((await post(seeded.path, '203.0.113.60', strange(BURST))).status).toBe(202)
    expect((await post(seeded.path, '203.0.113.60', forged(BURST + 100))).status).toBe(202)
    const barred = await post(seeded.path, '203.0.113.60', forged(1))
    expect(barred.status).toBe(503)
    // nothing in it is genuine: 202 as well, and paid for as well
    const alone = JSON.stringify({ value: Array.from({ length: 2 * BURST }, () => ({ clientState: 'x' })) })
    expect((await post(seeded.path, '203.0.113.61', alone)).status).toBe(202)
    expect((await post(seeded.path, '203.0.113.61', alone)).status).toBe(503)
    // whoever asks whether the process lives is told, also by a barred address
    const health = { path: '/webhook/health', headers: { 'x-forwarded-for': '203.0.113.61' } }
    expect((await ask(world.publicPort, health)).status).toBe(200)
    expect((await ask(world.publicPort, { ...health, method: 'POST' })).status).toBe(503)
  })

  test('what is over here and still sent there is not held against its sender', async () => {
    const gone = await seedSubscription(world.database.url, world.encryptionKey, 'gone@example.com')
    await world.db.rows(
      sql`update auth.subscriptions set state = 'stopped' where connection_id = ${gone.connectionId}`,
    )
    const late = () => post(gone.path, '203.0.113.62', gone.notification('late'))
    const answers = await Promise.all(Array.from({ length: 2 * BURST }, late))
    expect(answers.filter(({ status }) => status !== 202)).toEqual([])
    expect((await late()).status).toBe(202)
    const page = await ask(world.internalPort, { path: '/metrics' })
    expect(page.text).toMatch(
      /signature_failures_total\{provider="microsoft",reason="unknown_subscription"\} \d{3}/,
    )
  })

  test('is not fooled by an address that the client writes himself', async () => {
    for (let n = 0; n < 2 * BURST; n += 1)
      await post('/webhook/events/microsoft/forged', `198.51.100.7, 203.0.113.50`)
    expect((await post(seeded.path, '198.51.100.7', seeded.notification('mine'))).status).toBe(202)
  })
})

describe('from where a provider may send', () => {
  let world: World
  let seeded: Seeded
  beforeAll(async () => {
    world = await openWorld({
      environment: {
        TRUSTED_PROXIES: '127.0.0.1',
        MICROSOFT_WEBHOOK_ADDRESSES: '198.51.100.0/24, 2001:db8:0:1:8000::/65',
      },
    })
    seeded = await seedSubscription(world.database.url, world.encryptionKey, 'listed@example.com')
  })
  afterAll(() => world.close())
  const post = (from: string | undefined, body: string | Buffer, path = seeded.path) =>
    ask(world.publicPort, {
      method: 'POST',
      path,
      body,
      headers: {
        'content-type': 'application/json',
        ...(from === undefined ? {} : { 'x-forwarded-for': from }),
      },
    })

  test('WI-01 a genuine notification from elsewhere is refused, counted and not stored; from there it is stored', async () => {
    for (const from of [
      '203.0.113.9',
      '2001:db8:0:1::1',
      'no address',
      undefined,
      '198.51.100.7, 203.0.113.9',
    ])
      expect((await post(from, seeded.notification('elsewhere'))).status, String(from)).toBe(403)
    expect((await stored(world.db)).events).toBe(0)
    expect((await post('198.51.100.7', seeded.notification('v4'))).status).toBe(202)
    expect((await post('2001:db8:0:1:8000::1', seeded.notification('v6'))).status).toBe(202)
    expect((await stored(world.db)).events).toBe(2)
    const samples = await world.db.rows<{ reason: string }>(sql`select distinct reason from auth.rejections`)
    expect(samples.map(({ reason }) => reason)).toContain('bad_address')
  })

  test('who is listed is never barred for what strangers make him send; who is not listed is', async () => {
    const forged = '/webhook/events/microsoft/forged.reference'
    for (let n = 0; n < 2 * BURST; n += 1)
      expect((await post('198.51.100.9', '{"value":[]}', forged)).status).toBe(404)
    expect((await post('198.51.100.9', seeded.notification('after forgeries'))).status).toBe(202)
    const strangers = new Set<number>()
    for (let n = 0; n < 2 * BURST && !strangers.has(503); n += 1)
      strangers.add((await post('203.0.113.66', '{"value":[]}', forged)).status)
    expect(strangers).toEqual(new Set([403, 503]))
  })

  test('another provider is judged by its proofs alone', async () => {
    expect((await post('203.0.113.9', '{}', '/webhook/events/google')).status).not.toBe(403)
  })
})

describe('OP-06 lists of addresses in the settings', () => {
  const read = (more: Record<string, string>) => {
    const wrongs: string[] = []
    const lists = readWebhookAddresses(
      ['microsoft', 'my-own'],
      (name) => more[name],
      (sentence) => void wrongs.push(sentence),
    )
    return { ids: [...lists.keys()], wrongs }
  }

  test('without a word about proxies a list is refused, because no address could be believed', () => {
    expect(read({ MICROSOFT_WEBHOOK_ADDRESSES: '198.51.100.0/24' })).toEqual({
      ids: [],
      wrongs: [expect.stringContaining('needs TRUSTED_PROXIES')],
    })
  })

  test('what is no address is refused, and named by its variable', () => {
    expect(read({ MY_OWN_WEBHOOK_ADDRESSES: '198.51.100.0/24,somewhere', TRUSTED_PROXIES: 'none' })).toEqual({
      ids: [],
      wrongs: [expect.stringContaining('MY_OWN_WEBHOOK_ADDRESSES must be')],
    })
    expect(read({ MICROSOFT_WEBHOOK_ADDRESSES: '::/0', TRUSTED_PROXIES: 'none' })).toEqual({
      ids: ['microsoft'],
      wrongs: [],
    })
  })
})
