/** How many requests may be under way: who holds a place without need yields it, and one sender's slow bodies harm nobody else. */
import { connect, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Seeded, seedSubscription } from '../../../e2e/src/seed.ts'
import { MOST_PIECES } from '../../src/http/body.ts'
import { openPlaces, PATIENCE_MS, PLACES_EACH } from '../../src/http/places.ts'
import { openWorld, type World } from '../world.ts'
import { stored, until } from './people.ts'
import { ask } from './wire.ts'

const MEBIBYTE = 1024 * 1024

describe('places', () => {
  const open = (all: number, each: number, bytes = 1_000, bytesEach = 1_000) => {
    let now = 0
    const places = openPlaces(() => now, { all, each, bytes, bytesEach })
    const cut: string[] = []
    return {
      pass: (ms: number) => {
        now += ms
      },
      cut,
      take: (sender: string | undefined, name = sender ?? '') => {
        const place = places.take(sender, () => cut.push(name))
        return typeof place === 'string'
          ? { refusal: place, settle() {}, leave() {}, hold: () => false }
          : { refusal: undefined, ...place }
      },
    }
  }

  test('a sender has so many and no more; the others have theirs', () => {
    const { take } = open(10, 2)
    const first = take('a')
    take('a')
    expect(take('a').refusal).toBe('in_flight_each')
    expect(take('b').refusal).toBeUndefined()
    expect(take(undefined).refusal).toBeUndefined()
    first.leave()
    first.leave()
    expect(take('a').refusal).toBeUndefined()
    expect(take('a').refusal).toBe('in_flight_each')
  })

  test('all together have so many and no more', () => {
    const { take } = open(3, 2)
    for (const sender of ['a', undefined, 'b']) expect(take(sender).refusal).toBeUndefined()
    expect(take(undefined).refusal).toBe('in_flight')
    expect(take('c').refusal).toBe('in_flight')
  })

  test('who has been sending longest yields, and only after a second; whose body is here never', () => {
    const { take, pass, cut } = open(3, 10)
    take('a', 'settled').settle()
    take('a', 'first')
    pass(PATIENCE_MS - 1)
    take('b', 'second')
    expect(take('c', 'third').refusal).toBe('in_flight')
    pass(1)
    expect(take('c', 'third').refusal).toBeUndefined()
    expect(cut).toEqual(['first'])
    expect(take('c', 'fourth').refusal).toBe('in_flight')
    pass(PATIENCE_MS)
    for (const name of ['fourth', 'fifth']) expect(take('c', name).refusal).toBeUndefined()
    expect(cut).toEqual(['first', 'second', 'third'])
    expect(take('c', 'sixth').refusal).toBe('in_flight')
  })

  test('a sender without places takes one of his own alone', () => {
    const { take, pass, cut } = open(10, 2)
    take('b', 'of another')
    for (const name of ['first', 'second']) take('a', name)
    pass(PATIENCE_MS)
    expect(take('a', 'third').refusal).toBeUndefined()
    expect(cut).toEqual(['first'])
  })

  test('a body has the room that is there; who has been sending longest yields his, and only after a second', () => {
    const { take, pass, cut } = open(10, 10, 100, 100)
    const settled = take('a', 'settled')
    expect(settled.hold(40)).toBe(true)
    settled.settle()
    const slow = take('a', 'slow')
    expect(slow.hold(60)).toBe(true)
    expect(slow.hold(1)).toBe(false)
    pass(PATIENCE_MS - 1)
    const genuine = take('b', 'genuine')
    expect(genuine.hold(10)).toBe(false)
    pass(1)
    expect(genuine.hold(10)).toBe(true)
    expect(cut).toEqual(['slow'])
    expect(slow.hold(1)).toBe(false)
    // nobody else is left whose room could be taken, and nobody takes his own
    pass(PATIENCE_MS)
    expect(genuine.hold(51)).toBe(false)
    expect(genuine.hold(50)).toBe(true)
    settled.leave()
    expect(genuine.hold(40)).toBe(true)
    expect(cut).toEqual(['slow'])
  })

  test('one sender’s bodies have room of their own, and what they hold nobody else misses', () => {
    const { take } = open(10, 10, 100, 60)
    const first = take('a')
    expect(first.hold(50)).toBe(true)
    expect(take('a').hold(11)).toBe(false)
    expect(take('b').hold(50)).toBe(true)
    expect(take(undefined).hold(1)).toBe(false)
    first.leave()
    expect(take('a').hold(50)).toBe(true)
  })

  test('thousands that come and go leave nothing behind', () => {
    const { take } = open(4, 2)
    for (let n = 0; n < 10_000; n += 1) {
      const place = take(`sender ${n % 7}`)
      expect(place.refusal).toBeUndefined()
      expect(place.hold(n % 500)).toBe(true)
      if (n % 2 === 0) place.settle()
      place.leave()
    }
    for (let n = 0; n < 4; n += 1) expect(take(`sender ${n % 2}`).refusal).toBeUndefined()
    expect(take('sender 3').refusal).toBe('in_flight')
  })
})

describe('WI-07 WI-09 slow bodies of one address', () => {
  let world: World
  let seeded: Seeded
  const sockets: Socket[] = []
  beforeAll(async () => {
    world = await openWorld({ environment: { TRUSTED_PROXIES: '127.0.0.1' } })
    seeded = await seedSubscription(world.database.url, world.encryptionKey, 'mine@example.com')
  })
  afterAll(async () => {
    for (const socket of sockets) socket.destroy()
    await world.close()
  })
  const post = (from: string, id: string) =>
    ask(world.publicPort, {
      method: 'POST',
      path: seeded.path,
      body: seeded.notification(id),
      headers: { 'content-type': 'application/json', 'x-forwarded-for': from },
    })

  test('fill its own places and nobody else’s; after a second the oldest of them yields to a genuine one', async () => {
    const head = `POST ${seeded.path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{`
    let closed = 0
    for (let n = 0; n < PLACES_EACH; n += 1)
      sockets.push(
        connect(world.publicPort, '127.0.0.1', function (this: Socket) {
          this.write(head)
        })
          .on('error', () => undefined)
          .on('close', () => {
            closed += 1
          }),
      )
    const statuses = new Set<number>()
    // sooner than the door’s own deadline of ten seconds would cut them
    await until(
      'one of them yields to a genuine one',
      async () => {
        const { status } = await post('203.0.113.9', `genuine ${statuses.size}`)
        statuses.add(status)
        return status === 202 && closed > 0
      },
      8_000,
    )
    expect([...statuses].every((status) => status === 202 || status === 503)).toBe(true)
    expect((await post('198.51.100.7', 'another')).status).toBe(202)
    expect(closed).toBeLessThan(PLACES_EACH / 2)
    const { events } = await stored(world.db)
    expect(events).toBeGreaterThanOrEqual(2)
  })
})

describe('WI-07 WI-08 T24 bodies that are made to be held', () => {
  let world: World
  let seeded: Seeded
  const sockets: Socket[] = []
  beforeAll(async () => {
    world = await openWorld()
    seeded = await seedSubscription(world.database.url, world.encryptionKey, 'held@example.com')
  })
  afterAll(async () => {
    for (const socket of sockets) socket.destroy()
    await world.close()
  })
  const genuine = (id: string) =>
    ask(world.publicPort, {
      method: 'POST',
      path: seeded.path,
      body: seeded.notification(id),
      headers: { 'content-type': 'application/json' },
    })

  test('that stall one byte before their end hold all the room for a second, not longer', async () => {
    // ever smaller ones, until what is left is too little for anybody
    const sizes = [
      ...Array.from({ length: 70 }, () => MEBIBYTE),
      ...Array.from({ length: 30 }, () => 64 * 1024),
      ...Array.from({ length: 60 }, () => 2_048),
      ...Array.from({ length: 20 }, () => 256),
    ]
    let sent = 0
    for (const size of sizes) {
      let counted = false
      const isSent = () => {
        if (!counted) sent += 1
        counted = true
      }
      const head = `POST /webhook/events/microsoft HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${size}\r\n\r\n`
      sockets.push(
        connect(world.publicPort, '127.0.0.1', function (this: Socket) {
          this.write(head)
          this.write(Buffer.alloc(size - 1, 'x'), isSent)
        })
          .on('close', isSent)
          .on('error', () => undefined)
          .on('data', () => undefined),
      )
    }
    const statuses: number[] = []
    // sooner than the door’s own deadline of ten seconds would cut them
    await until(
      'a genuine one finds room again',
      async () => {
        statuses.push((await genuine(`stalled ${statuses.length}`)).status)
        // on a busy machine the first yield before the last have come: then nobody is refused
        return statuses.at(-1) === 202 && (statuses.includes(503) || sent === sizes.length)
      },
      8_000,
    )
    for (const status of statuses) expect([202, 503]).toContain(status)
  })

  test('a body that comes letter by letter is refused long before it is large', async () => {
    const letters = Buffer.from('1\r\nx\r\n'.repeat(MOST_PIECES + 1))
    const answer = await new Promise<string>((resolve) => {
      const socket = connect(world.publicPort, '127.0.0.1', function (this: Socket) {
        this.write(
          `POST ${seeded.path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`,
        )
        this.write(letters)
      })
      sockets.push(socket)
      socket.once('data', (data) => resolve(data.toString('latin1')))
      socket.on('error', () => undefined)
    })
    expect(answer).toMatch(/^HTTP\/1\.1 413 /)
    expect((await genuine('after letters')).status).toBe(202)
  })
})
