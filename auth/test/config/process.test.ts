/** The process: what ends its start in one sentence, and how it ends when it is told to. */

import type { AddressInfo } from 'node:net'
import { createServer, connect as openSocket, type Server } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { newEncryptionKey, seedSubscription } from '../../../e2e/src/seed.ts'
import { freePort } from '../../../local/src/free-port.ts'
import { type TestDatabase, testDatabase } from '../database.ts'
import { until } from '../http/people.ts'
import { ask } from '../http/wire.ts'
import { environmentOf, runAuth, startAuth } from '../world.ts'

/** Of all processes on this database. */
const KEY = newEncryptionKey()
let database: TestDatabase
beforeAll(async () => {
  database = await testDatabase()
})
afterAll(() => database.close())

const changed = (change: (url: URL) => void) => {
  const url = new URL(database.url)
  change(url)
  return url.href
}

describe('a start that cannot be', () => {
  const unreachable: [string, () => Promise<string>, RegExp][] = [
    [
      'where nothing listens',
      async () => changed((url) => Object.assign(url, { port: '9' })),
      /nothing answers there/,
    ],
    [
      'with a wrong password',
      async () => changed((url) => Object.assign(url, { password: 'wrong-password' })),
      /refuses the password/,
    ],
    [
      'that does not exist',
      async () => changed((url) => Object.assign(url, { pathname: '/nosuchdatabase' })),
      /does not exist/,
    ],
    [
      'on a host without a name',
      async () => changed((url) => Object.assign(url, { hostname: 'db.invalid' })),
      /host name is unknown|does not answer|cannot be used/,
    ],
  ]
  test.each(unreachable)('a DATABASE_URL %s is one sentence and 1', async (_, url, sentence) => {
    const { code, stdout, stderr } = await runAuth(environmentOf(await url()))
    expect(code).toBe(1)
    expect(stdout).toBe('')
    expect(stderr).toMatch(sentence)
    expect(stderr).toMatch(/DATABASE_URL/)
    expect(stderr.trimEnd().split('\n')).toHaveLength(1)
    expect(stderr).not.toMatch(/wrong-password|nosuchdatabase|postgres:\/\//)
  })

  test('a DATABASE_URL where something listens and says nothing is one sentence and 1', async () => {
    const silent = createServer(() => undefined)
    const port = await listen(silent)
    try {
      const { code, stderr } = await runAuth(
        environmentOf(changed((url) => Object.assign(url, { port: String(port) }))),
      )
      expect([code, stderr.trimEnd().split('\n').length]).toEqual([1, 1])
      expect(stderr).toMatch(/DATABASE_URL cannot be used: it does not answer/)
    } finally {
      silent.close()
    }
  }, 20_000)

  test.each(['AUTH_PORT', 'AUTH_INTERNAL_PORT'])('a taken %s is one sentence and 1', async (name) => {
    const other = createServer()
    const port = await listen(other)
    try {
      const { code, stderr } = await runAuth(
        environmentOf(database.url, { ENCRYPTION_KEY: KEY, [name]: String(port) }),
      )
      expect([code, stderr.trimEnd().split('\n').length]).toEqual([1, 1])
      expect(stderr).toContain(`port ${port} is taken`)
      expect(stderr).toContain(name)
    } finally {
      other.close()
    }
  })
})

describe('an end', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)(
    'RE-06 %s: the request in flight is stored and answered, then the process ends with 0',
    async (signal) => {
      const environment = environmentOf(database.url, { ENCRYPTION_KEY: KEY })
      const auth = await startAuth(environment)
      const seeded = await seedSubscription(database.url, KEY, `${signal}@example.com`)
      const body = seeded.notification(signal)
      const flight = await takeOff(auth.publicPort, seeded.path, body)

      auth.signal(signal)
      await until('it drains', () => auth.output().includes('draining'))
      await until('it takes nothing new', async () => {
        const answer = await ask(auth.publicPort, { path: '/webhook/health' }).catch(() => undefined)
        return answer === undefined
      })
      const answer = await flight.land()
      expect(answer).toMatch(/^HTTP\/1\.1 202/)
      const answered = performance.now()
      const ending = await auth.ended
      expect(ending.code).toBe(0)
      expect(performance.now() - answered).toBeLessThan(3_000)
      expect(ending.stderr).toBe('')
    },
  )

  test('RE-06 a sender that never finishes does not hold the end up for ever', async () => {
    const auth = await startAuth(environmentOf(database.url, { ENCRYPTION_KEY: KEY }))
    await takeOff(auth.publicPort, '/webhook/events/microsoft', Buffer.alloc(100, ' '))
    const began = performance.now()
    auth.signal('SIGTERM')
    auth.signal('SIGTERM')
    expect((await auth.ended).code).toBe(0)
    expect(performance.now() - began).toBeLessThan(12_000)
  }, 20_000)

  test('a free port of its own choice is told in the log', async () => {
    const port = await freePort()
    const auth = await startAuth(
      environmentOf(database.url, { ENCRYPTION_KEY: KEY, AUTH_PORT: String(port) }),
    )
    expect(auth.publicPort).toBe(port)
    expect((await ask(port, { path: '/webhook/health' })).status).toBe(200)
    await auth.stop()
  })
})

/** A request of which all but the last byte has arrived. */
async function takeOff(port: number, path: string, body: Buffer) {
  let text = ''
  const socket = openSocket(port, '127.0.0.1')
  socket.on('error', () => undefined)
  socket.on('data', (data) => {
    text += data.toString('latin1')
  })
  await new Promise<void>((resolve) => socket.once('connect', resolve))
  socket.write(`POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n`)
  socket.write(body.subarray(0, -1))
  await sleep(100)
  return {
    land: async () => {
      socket.write(body.subarray(-1))
      await until('the answer', () => text.includes('\r\n\r\n'))
      return text
    },
  }
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve) =>
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)),
  )
}
