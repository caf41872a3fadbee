/** IA-02: the public port knows three paths, whatever the spelling; the internal port is another one. */
import { connect } from 'node:net'
import { networkInterfaces } from 'node:os'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openWorld, type World } from '../world.ts'
import { listRoutes, pathOf } from './route-list.ts'
import { ask, raw } from './wire.ts'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(() => world.close())

const percent = (text: string) =>
  [...Buffer.from(text)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')

/** Thirty ways to write a path that a proxy or a server could take for the plain one. */
const SPELLINGS: readonly ((path: string) => string)[] = [
  (path) => path,
  (path) => `${path}/`,
  (path) => `/${path}`,
  (path) => `//${path}`,
  (path) => `/.${path}`,
  (path) => `/x/..${path}`,
  (path) => `/x/%2e%2e${path}`,
  (path) => `/webhook/..${path}`,
  (path) => `/webhook/../..${path}`,
  (path) => `/webhook/%2e%2e${path}`,
  (path) => `/webhook/%2e%2e%2f${path.slice(1)}`,
  (path) => `/webhook/..%2f${path.slice(1)}`,
  (path) => `/webhook/..%5c${path.slice(1)}`,
  (path) => `/webhook/health/..${path}`,
  (path) => `/webhook/health/../..${path}`,
  (path) => `/webhook/events/microsoft/..${path}`,
  (path) => `/webhook/events/microsoft/../../..${path}`,
  (path) => `/webhook/events/..${path}`,
  (path) => `/webhook/oauth/..${path}/callback`,
  (path) => `/webhook${path}`,
  (path) => path.toUpperCase(),
  (path) => `/${percent(path.slice(1))}`,
  (path) => `%2f${path.slice(1)}`,
  (path) => `/%2f${path.slice(1)}`,
  (path) => `/${percent(percent(path.slice(1)))}`,
  (path) => `${path};x=1`,
  (path) => `${path}%00`,
  (path) => `${path}%20`,
  (path) => `${path}.json`,
  (path) => `\\${path.slice(1)}`,
  (path) => `http://127.0.0.1${path}`,
  (path) => `${path}?/webhook/health`,
  (path) => `${path}#/webhook/health`,
]

describe('IA-02', () => {
  test('IA-02 nothing of the internal port is found on the public one, in 30 spellings', async () => {
    expect(SPELLINGS.length).toBeGreaterThanOrEqual(30)
    const routes = await listRoutes(world.internalPort)
    const targets = new Set([
      ...routes.map((route) => pathOf(route)),
      '/openapi.json',
      '/internal',
      '/debug',
      '/debug/pprof',
      '/json/version',
      '/.env',
    ])
    for (const target of targets)
      for (const spell of SPELLINGS) {
        const path = spell(target)
        const answer = await raw(
          world.publicPort,
          `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Service-Token: ${world.serviceToken}\r\nConnection: close\r\n\r\n`,
        )
        expect([path, [400, 404].includes(answer.status)]).toEqual([path, true])
        expect(answer.text).toMatch(/content-length: 0/i)
      }
  })

  test('IA-02 a path of ours with something before or behind it is none of ours', async () => {
    for (const path of [
      '/webhook/health',
      '/webhook/events/microsoft',
      '/webhook/events/google',
      '/webhook/oauth/google/callback',
    ])
      for (const near of [
        `/x${path}`,
        `//x${path}`,
        `/internal${path}`,
        `${path}/x/y`,
        `${path}/`,
        `${path};x`,
        `${path}%2f`,
      ])
        for (const method of ['GET', 'POST']) {
          const answer = await ask(world.publicPort, { method, path: near })
          expect([method, near, answer.status]).toEqual([method, near, 404])
        }
  })

  test('IA-02 headers that name another path or host change nothing', async () => {
    for (const name of ['x-original-url', 'x-rewrite-url', 'x-forwarded-path', 'x-forwarded-prefix', 'host'])
      for (const path of ['/', '/metrics']) {
        const answer = await ask(world.publicPort, { path, headers: { [name]: '/internal/providers' } })
        expect([name, answer.status]).toEqual([name, 404])
      }
  })

  test('IA-02 the doors of the webhooks are not found on the internal port', async () => {
    for (const path of ['/webhook/health', '/webhook/events/microsoft', '/webhook/oauth/microsoft/callback'])
      expect((await ask(world.internalPort, { path })).status).toBe(404)
  })

  test('IA-02 in local mode neither port listens beyond loopback', async () => {
    const outside = Object.values(networkInterfaces())
      .flat()
      .find((address) => address?.family === 'IPv4' && !address.internal)?.address
    // a machine without a network has nothing to listen on
    for (const port of outside === undefined ? [] : [world.publicPort, world.internalPort]) {
      const opened = await new Promise<boolean>((resolve) => {
        const socket = connect({ host: outside ?? '', port, timeout: 2_000 })
        const done = (open: boolean) => {
          socket.destroy()
          resolve(open)
        }
        socket.on('connect', () => done(true))
        socket.on('error', () => done(false))
        socket.on('timeout', () => done(false))
      })
      expect(opened).toBe(false)
    }
  })
})
