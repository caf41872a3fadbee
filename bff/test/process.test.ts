import { spawn } from 'node:child_process'
import { request } from 'node:http'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readConfig } from '../src/config.ts'
import { type FakeAuth, SERVICE_SECRET, startFakeAuth } from './fake-auth.ts'
import { SIGNED_IN } from './world.ts'

let auth: FakeAuth
beforeAll(async () => {
  auth = await startFakeAuth()
})
afterAll(() => auth.close())

const FIXTURE = `${import.meta.dirname}/fixtures/console`
const VALID = {
  AUTH_MODE: 'local',
  AUTH_INTERNAL_URL: 'http://127.0.0.1:8001',
  SERVICE_SECRET,
  CONSOLE_BASE_URL: 'http://localhost:3000',
  WEBHOOK_BASE_URL: 'http://127.0.0.1:8000',
}

describe('the configuration', () => {
  test('local: binds loopback whatever BFF_HOST says', () => {
    const reading = readConfig({ ...VALID, BFF_HOST: '0.0.0.0', BFF_PORT: '3100' })
    expect(reading).toMatchObject({ kind: 'valid', listen: { host: '127.0.0.1', port: 3100 } })
  })

  test('production: https origins, all interfaces unless BFF_HOST says otherwise', () => {
    const production = {
      ...VALID,
      AUTH_MODE: '',
      CONSOLE_BASE_URL: 'https://console.example.com',
      WEBHOOK_BASE_URL: 'https://webhooks.example.com/',
    }
    expect(readConfig(production)).toMatchObject({
      kind: 'valid',
      config: { mode: 'production', consoleBaseUrl: 'https://console.example.com' },
      listen: { host: '0.0.0.0', port: 3000 },
    })
    expect(readConfig({ ...production, BFF_HOST: '10.0.0.1' })).toMatchObject({
      listen: { host: '10.0.0.1' },
    })
  })

  test.each([
    ['AUTH_MODE', 'test'],
    ['AUTH_INTERNAL_URL', ''],
    ['AUTH_INTERNAL_URL', 'ftp://auth'],
    ['SERVICE_SECRET', 'short'],
    ['CONSOLE_BASE_URL', 'https://console.example.com'],
    ['CONSOLE_BASE_URL', 'http://localhost:3000/path'],
    ['CONSOLE_BASE_URL', 'http://localhost.evil.example'],
    ['CONSOLE_BASE_URL', 'http://127.0.0.1:3000'],
    ['WEBHOOK_BASE_URL', 'nonsense'],
    ['BFF_PORT', '70000'],
    ['BFF_PORT', 'x'],
  ])('%s=%s is a mistake that names the variable and not the value', (name, value) => {
    const reading = readConfig({ ...VALID, [name]: value })
    if (reading.kind !== 'invalid') throw new Error('expected mistakes')
    expect(reading.mistakes.join(' ')).toContain(name)
    if (name === 'SERVICE_SECRET') expect(reading.mistakes.join(' ')).not.toContain(value)
  })

  test.each(['http://console.example.com', 'http://localhost:3000'])(
    'production refuses the origin %s',
    (origin) => {
      expect(readConfig({ ...VALID, AUTH_MODE: 'production', CONSOLE_BASE_URL: origin }).kind).toBe('invalid')
    },
  )
})

describe('the process', () => {
  test('prints all mistakes at once, one line each, and ends with 1', async () => {
    const { code, err } = await run({ AUTH_MODE: 'local', BFF_PORT: 'x' }).ended
    expect(code).toBe(1)
    const lines = err.trim().split('\n')
    expect(lines.map((line) => line.split(' ')[0])).toEqual([
      'CONSOLE_BASE_URL',
      'WEBHOOK_BASE_URL',
      'AUTH_INTERNAL_URL',
      'SERVICE_SECRET',
      'BFF_PORT',
    ])
  })

  test('RE-06 drains on SIGTERM: the request in flight is answered, then it ends with 0', async () => {
    const release = Promise.withResolvers<void>()
    const reached = Promise.withResolvers<void>()
    auth.answers.set('GET /internal/events', async () => {
      reached.resolve()
      await release.promise
      return { status: 200, body: { items: [] } }
    })
    const child = run({ ...VALID, AUTH_INTERNAL_URL: auth.url, BFF_PORT: '0', CONSOLE_FOLDER: FIXTURE })
    const port = await child.listening
    const answer = get(port, '/bff/events')
    await reached.promise
    child.stop()
    await new Promise((resolve) => setTimeout(resolve, 150))
    release.resolve()
    expect(await answer).toBe(200)
    expect((await child.ended).code).toBe(0)
  })

  test('a taken port is one sentence and 1', async () => {
    const first = run({ ...VALID, BFF_PORT: '0', CONSOLE_FOLDER: FIXTURE })
    const port = await first.listening
    const second = await run({ ...VALID, BFF_PORT: String(port), CONSOLE_FOLDER: FIXTURE }).ended
    expect([second.code, second.err]).toEqual([1, expect.stringMatching(/^BFF_PORT is taken.*\n$/)])
    first.stop()
    expect((await first.ended).code).toBe(0)
  })

  test('a console that is not built is one sentence and 1', async () => {
    const { code, err } = await run({ ...VALID, CONSOLE_FOLDER: `${FIXTURE}/nothing` }).ended
    expect([code, err]).toEqual([1, 'The console is not built: run npm run build.\n'])
  })
})

function run(environment: Record<string, string>) {
  const main = new URL('../src/main.ts', import.meta.url).pathname
  const child = spawn(process.execPath, [main], { env: { ...environment, NODE_NO_WARNINGS: '1' } })
  let err = ''
  child.stderr.on('data', (chunk) => {
    err += chunk
  })
  const listening = new Promise<number>((resolve) => {
    child.stdout.on('data', (chunk) => {
      const [, port] = /listening at http:\/\/127\.0\.0\.1:(\d+)/.exec(String(chunk)) ?? []
      if (port !== undefined) resolve(Number(port))
    })
  })
  const ended = new Promise<{ code: number | null; err: string }>((resolve) => {
    child.on('close', (code) => resolve({ code, err }))
  })
  return { listening, ended, stop: () => child.kill('SIGTERM') }
}

function get(port: number, path: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { host: '127.0.0.1', port, path, headers: { cookie: SIGNED_IN } },
      (response) => {
        response.resume()
        response.on('end', () => resolve(response.statusCode))
      },
    )
    outgoing.on('error', reject)
    outgoing.end()
  })
}
