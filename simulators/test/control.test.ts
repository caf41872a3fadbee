/** The control API, the doorstep of every port, and the switches that both providers share. */
import { spawn } from 'node:child_process'
import { request } from 'node:http'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { readOptions } from '../src/options.ts'
import { post } from '../src/post.ts'
import { type Simulators, startSimulators } from '../src/start.ts'
import {
  call,
  canary,
  clientId,
  clientSecret,
  connectGoogle,
  connectMicrosoft,
  consent,
  control,
  googleAuthUrl,
  type Json,
  microsoftAuthUrl,
  microsoftRedirect,
  pubsub,
  type Receiver,
  redeemGoogle,
  redeemMicrosoft,
  start,
  startReceiver,
} from './harness.ts'

let receiver: Receiver
let simulators: Simulators
const lines: string[] = []

beforeAll(async () => {
  receiver = await startReceiver()
  simulators = await start(receiver, { log: (line) => lines.push(line) })
})
beforeEach(() => control(simulators).post('/reset', {}))
afterAll(async () => {
  await simulators.close()
  await receiver.close()
})

const faults = (switches: Record<string, unknown>) => control(simulators).post('/faults', switches)

/** `fetch` does not let a caller choose the Host. */
function statusWithHost(url: string, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { headers: { host }, agent: false }, (response) => {
      response.resume()
      resolve(response.statusCode ?? 0)
    })
    outgoing.on('error', reject).end()
  })
}

test('every control route wants the token', async () => {
  for (const path of ['/state', '/issued', '/mailbox/adele@contoso.test']) {
    expect((await call(simulators.controlUrl + path)).status).toBe(401)
    const wrong = { headers: { authorization: 'Bearer wrong' } }
    expect((await call(simulators.controlUrl + path, wrong)).status).toBe(401)
    expect((await control(simulators).get(path)).status).toBe(200)
  }
  expect((await call(`${simulators.controlUrl}/reset`, { method: 'POST' })).status).toBe(401)
  expect(simulators.controlToken).toMatch(/^[A-Za-z0-9_-]{43}$/)
})

test('a foreign Host is misdirected on all three ports', async () => {
  for (const url of [simulators.microsoftUrl, simulators.googleUrl, simulators.controlUrl]) {
    const port = new URL(url ?? '').port
    expect(await statusWithHost(`${url}/state`, 'evil.test')).toBe(421)
    expect(await statusWithHost(`${url}/state`, `evil.test:${port}`)).toBe(421)
    expect(await statusWithHost(`${url}/state`, `localhost:${port}`)).not.toBe(421)
  }
})

test('the state counts token requests by grant, and reset clears counters and switches', async () => {
  const tokens = await connectMicrosoft(simulators)
  await redeemMicrosoft(simulators, 'wrong')
  await call(`${simulators.microsoftUrl}/common/oauth2/v2.0/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'refresh_token',
      client_id: clientId,
      client_secret: clientSecret,
      refresh_token: tokens.refresh_token,
    }),
  })
  await faults({ provider: 'microsoft', denyConsent: true })
  const { microsoft, google } = (await control(simulators).get('/state')).json
  expect(microsoft.tokenRequests).toEqual({ authorization_code: 2, refresh_token: 1 })
  expect(google.tokenRequests).toEqual({})
  await control(simulators).post('/reset', {})
  const after = (await control(simulators).get('/state')).json.microsoft
  expect(after.tokenRequests).toEqual({})
  expect(after.faults.denyConsent).toBe(false)
})

test('everything issued begins with the canary and is listed, and nothing of it is in the log', async () => {
  const microsoft = await connectMicrosoft(simulators)
  const google = await connectGoogle(simulators)
  const { issued } = (await control(simulators).get('/issued')).json
  const values = issued.map((one: Json) => one.value)
  for (const tokens of [microsoft, google]) {
    expect(values).toEqual(
      expect.arrayContaining([tokens.access_token, tokens.refresh_token, tokens.id_token]),
    )
  }
  const opaque = issued.filter((one: Json) => !['id_token', 'pubsub_token'].includes(one.kind))
  expect(opaque.every((one: Json) => one.value.startsWith(canary))).toBe(true)
  for (const value of values) expect(lines.join('\n')).not.toContain(value)
})

test('tokenError answers so many times with its status, headers and body, at both providers', async () => {
  for (const provider of ['microsoft', 'google'] as const) {
    const tokenError = {
      status: 503,
      body: { error: 'server_error' },
      headers: { 'Retry-After': '7' },
      times: 2,
    }
    await faults({ provider, tokenError })
    const redeem = () =>
      provider === 'microsoft' ? redeemMicrosoft(simulators, 'x') : redeemGoogle(simulators, 'x')
    for (const _ of [1, 2]) {
      const answer = await redeem()
      expect([answer.status, answer.headers.get('retry-after'), answer.json.error]).toEqual([
        503,
        '7',
        'server_error',
      ])
    }
    expect((await redeem()).status).toBe(400)
  }
})

test('token requests can be delayed and dropped, and a whole provider can be down', async () => {
  await faults({ provider: 'google', tokenDelayMs: 200 })
  const began = Date.now()
  await redeemGoogle(simulators, 'x')
  expect(Date.now() - began).toBeGreaterThanOrEqual(195)
  await faults({ provider: 'google', tokenDelayMs: 0, tokenDrop: 1 })
  await expect(redeemGoogle(simulators, 'x')).rejects.toThrow()
  expect((await redeemGoogle(simulators, 'x')).status).toBe(400)
  await faults({ provider: 'google', down: '503' })
  expect((await call(`${simulators.googleUrl}/oauth2/v3/certs`)).status).toBe(503)
  const authUrl = googleAuthUrl(simulators)
  expect((await control(simulators).post('/authorize', { authUrl, account: 'gita@flow.test' })).status).toBe(
    503,
  )
  await faults({ provider: 'google', down: 'refuse' })
  await expect(call(`${simulators.googleUrl}/oauth2/v3/certs`)).rejects.toThrow()
  expect((await call(`${simulators.microsoftUrl}/common/discovery/v2.0/keys`)).status).toBe(200)
  await faults({ provider: 'google', down: false, jwksDown: true })
  expect((await call(`${simulators.googleUrl}/oauth2/v3/certs`)).status).toBe(503)
})

test('noRefreshToken, expiresIn and grantScopes change what is given', async () => {
  await faults({ provider: 'microsoft', noRefreshToken: true, expiresIn: 60, grantScopes: ['Mail.Read'] })
  const tokens = await connectMicrosoft(simulators)
  expect(tokens).not.toHaveProperty('refresh_token')
  expect(tokens.expires_in).toBe(60)
  expect(tokens.scope).toBe('email openid profile https://graph.microsoft.com/Mail.Read')
})

test('unknown switches, providers, accounts and authorization URLs are refused', async () => {
  expect((await faults({ provider: 'microsoft', nonsense: true })).status).toBe(400)
  expect((await faults({ provider: 'microsoft', issMode: 'maybe' })).status).toBe(400)
  expect((await faults({ provider: 'yahoo' })).status).toBe(400)
  expect(
    (await control(simulators).post('/message', { provider: 'google', account: 'no@one.test' })).status,
  ).toBe(400)
  const authUrl = 'https://login.microsoftonline.com/common/oauth2/v2.0/authorize'
  expect(
    (await control(simulators).post('/authorize', { authUrl, account: 'adele@contoso.test' })).status,
  ).toBe(400)
})

test('a code of one provider is refused by the other', async () => {
  const { parameters } = await consent(simulators, microsoftAuthUrl(simulators), 'bruno@contoso.test')
  expect((await redeemGoogle(simulators, parameters.get('code') ?? '')).json.error).toBe('invalid_grant')
})

test('a start refuses what can not be meant, all mistakes at once', async () => {
  expect(() => readOptions('{"controlPort":-1,"microsoft":{"port":0}}')).toThrow(
    /clientId.*clientSecret.*|controlPort/s,
  )
  expect(() => readOptions('not json')).toThrow('not JSON')
  const google = { port: 0, clientId: 'x', clientSecret: 'y', redirectUris: ['http://127.0.0.1/'] }
  const far = { ...pubsub, pushUrl: 'https://example.com/push' }
  await expect(startSimulators({ controlPort: 0, google: { ...google, pubsub: far } })).rejects.toMatchObject(
    {
      code: 'bad_options',
    },
  )
})

test('nothing is ever sent to another machine', async () => {
  for (const url of [
    'http://192.0.2.1/',
    'https://localhost.example.test/',
    'ftp://127.0.0.1/',
    'nonsense',
  ]) {
    const result = await post({ url, headers: {}, body: '', timeoutMs: 500 })
    expect(result).toMatchObject({ kind: 'failed', reason: 'not_loopback' })
  }
})

test('as a process it prints one line when ready and ends on SIGTERM', async () => {
  const config = {
    microsoft: { port: 0, clientId, clientSecret, redirectUris: [microsoftRedirect] },
    controlPort: 0,
    controlToken: 'c'.repeat(43),
  }
  const child = spawn(process.execPath, [new URL('../src/main.ts', import.meta.url).pathname], {
    env: { PATH: process.env.PATH, SIMULATORS_CONFIG: JSON.stringify(config) },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const line = await new Promise<string>((resolve) =>
    child.stdout.once('data', (data) => resolve(String(data))),
  )
  const ready = JSON.parse(line)
  expect(ready).toEqual({
    ready: true,
    microsoftUrl: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
    controlUrl: expect.any(String),
    controlToken: 'c'.repeat(43),
  })
  expect((await call(`${ready.microsoftUrl}/common/discovery/v2.0/keys`)).status).toBe(200)
  const ended = new Promise((resolve) => child.once('exit', (code) => resolve(code)))
  child.kill('SIGTERM')
  expect(await ended).toBe(0)
})
