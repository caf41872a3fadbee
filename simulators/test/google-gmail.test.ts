/** Gmail and Pub/Sub push against protocols/google.md §2 and §3. */
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Simulators } from '../src/start.ts'
import {
  call,
  connectGoogle,
  consent,
  control,
  googleAuthUrl,
  type Json,
  pubsub,
  type Receiver,
  redeemGoogle,
  start,
  startReceiver,
  withBearer,
} from './harness.ts'

let receiver: Receiver
let simulators: Simulators
let token: string

const gita = 'gita@flow.test'

beforeAll(async () => {
  receiver = await startReceiver()
  simulators = await start(receiver)
  token = (await connectGoogle(simulators)).access_token
})
beforeEach(async () => {
  await control(simulators).post('/reset', { redeliveries: true })
  await gmail('POST', 'stop')
  receiver.received.length = 0
  receiver.answer = { status: 204 }
})
afterAll(async () => {
  await simulators.close()
  await receiver.close()
})

function gmail(method: string, tail: string, body?: unknown, bearer = token) {
  const init = body === undefined ? { method } : { method, body: JSON.stringify(body) }
  return call(`${simulators.googleUrl}/gmail/v1/users/me/${tail}`, withBearer(bearer, init))
}

function watch(more: Record<string, unknown> = {}) {
  return gmail('POST', 'watch', {
    topicName: pubsub.topic,
    labelIds: ['INBOX'],
    labelFilterBehavior: 'INCLUDE',
    ...more,
  })
}

async function watched() {
  await watch()
  await receiver.waitFor(1)
  receiver.received.length = 0
}

const message = () =>
  control(simulators).post('/message', { provider: 'google', account: gita, subject: 'Hello' })
const push = (more: Record<string, unknown>) =>
  control(simulators).post('/push', { provider: 'google', account: gita, ...more })
const bearerAt = (index: number) =>
  receiver.received[index]?.headers.authorization?.slice('Bearer '.length) ?? ''
const dataAt = (index: number): Json => {
  const { message: envelope } = JSON.parse(receiver.received[index]?.body ?? '')
  return JSON.parse(Buffer.from(envelope.data, 'base64').toString('utf8'))
}

test('watch answers with strings and pushes at once, in the wrapped form with a verifiable token', async () => {
  const { status, json } = await watch()
  expect(status).toBe(200)
  expect(json).toEqual({
    historyId: expect.stringMatching(/^\d+$/),
    expiration: expect.stringMatching(/^\d{13}$/),
  })
  await receiver.waitFor(1)
  const [first] = receiver.received
  expect(first?.url).toBe('/webhook/events/google')
  expect(first?.headers['content-type']).toBe('application/json')
  expect(first?.headers.from).toBe('noreply@google.com')
  const envelope = JSON.parse(first?.body ?? '')
  expect(envelope.subscription).toBe(pubsub.subscription)
  expect(envelope.message.message_id).toBe(envelope.message.messageId)
  expect(envelope.message.publish_time).toBe(envelope.message.publishTime)
  expect(dataAt(0)).toEqual({ emailAddress: gita, historyId: Number(json.historyId) })
  const keys = createRemoteJWKSet(new URL(`${simulators.googleUrl}/oauth2/v3/certs`))
  const { payload } = await jwtVerify(bearerAt(0), keys, {
    issuer: simulators.googleUrl ?? '',
    audience: pubsub.audience,
    algorithms: ['RS256'],
  })
  expect(payload).toMatchObject({ email: pubsub.serviceAccount, email_verified: true })
  expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBe(3600)
})

test('watch refuses a foreign topic, a second one, a missing permission and a dead token', async () => {
  expect((await watch({ topicName: 'projects/other/topics/x' })).status).toBe(404)
  await watched()
  expect((await watch({ topicName: 'projects/other/topics/x' })).json.error.message).toMatch(
    /^Only one user push/,
  )
  expect((await watch()).status).toBe(200)
  const narrow = googleAuthUrl(simulators, { scope: 'openid email' })
  const { parameters } = await consent(simulators, narrow, gita)
  const bare = (await redeemGoogle(simulators, parameters.get('code') ?? '')).json.access_token
  expect((await gmail('POST', 'watch', { topicName: pubsub.topic }, bare)).json.error.errors[0].reason).toBe(
    'insufficientPermissions',
  )
  expect((await gmail('GET', 'profile', undefined, 'dead')).json.error.errors[0].reason).toBe('authError')
})

test('a new mail advances the history, is pushed, and is found from the stored history id only', async () => {
  const before = (await gmail('GET', 'profile')).json.historyId
  await watched()
  const sent = await message()
  expect(sent.json.pushes).toMatchObject([{ status: 204, acknowledged: true }])
  const pushed = dataAt(0).historyId
  expect(pushed).toBeGreaterThan(Number(before))
  const found = await gmail('GET', `history?startHistoryId=${before}`)
  expect(found.json.history).toHaveLength(1)
  expect(found.json.history[0].messagesAdded[0].message).toMatchObject({ id: sent.json.mail.id })
  expect(found.json.historyId).toBe(String(pushed))
  expect((await gmail('GET', `history?startHistoryId=${pushed}`)).json).not.toHaveProperty('history')
  expect((await gmail('GET', `messages/${sent.json.mail.id}`)).json.snippet).toBe('Hello')
  await message()
  const page = await gmail('GET', `history?startHistoryId=${before}&maxResults=1`)
  expect(page.json.history).toHaveLength(1)
  const next = await gmail(
    'GET',
    `history?startHistoryId=${before}&maxResults=1&pageToken=${page.json.nextPageToken}`,
  )
  expect(next.json).not.toHaveProperty('nextPageToken')
  await control(simulators).post('/faults', { provider: 'google', historyExpired: true })
  expect((await gmail('GET', `history?startHistoryId=${before}`)).status).toBe(404)
})

test('without a watch, after stop, or outside the label filter nothing is pushed', async () => {
  expect((await message()).json.pushes).toEqual([])
  await watch({ labelIds: ['SENT'] })
  expect((await message()).json.pushes).toEqual([])
  await watch({ labelFilterBehavior: 'exclude' })
  expect((await message()).json.pushes).toEqual([])
  await watch()
  expect((await message()).json.pushes).toHaveLength(1)
  await gmail('POST', 'stop')
  expect((await message()).json.pushes).toEqual([])
})

test('a push is repeated with the same message id until one of the acknowledging statuses', async () => {
  await watched()
  receiver.answer = (_request, count) => ({ status: [401, 302, 206, 200][count - 1] ?? 200 })
  await message()
  const attempts = await receiver.waitFor(4)
  expect(new Set(attempts.map((attempt) => attempt.body)).size).toBe(1)
  await new Promise((resolve) => setTimeout(resolve, 300))
  const { google } = (await control(simulators).get('/state')).json
  // The watch's own push is the fifth.
  expect(google.pushes).toMatchObject({ sent: 5, acknowledged: 2, failed: 3 })
  expect(google.redeliveriesWaiting).toBe(0)
})

test('repeated pushes share one message id, delayed ones come later, the history id can be a string', async () => {
  await push({ repeat: 3 })
  expect(new Set(receiver.received.map((one) => one.body)).size).toBe(1)
  expect(receiver.received).toHaveLength(3)
  await control(simulators).post('/faults', { provider: 'google', historyIdAs: 'string' })
  await push({ delayMs: 100 })
  expect(receiver.received).toHaveLength(3)
  await receiver.waitFor(4)
  expect(dataAt(3).historyId).toBeTypeOf('string')
})

test('forged pushes differ in exactly what they name and are sent once, for WI-01', async () => {
  receiver.answer = { status: 401 }
  const keys = createRemoteJWKSet(new URL(`${simulators.googleUrl}/oauth2/v3/certs`))
  const forged = async (forge: string) => {
    receiver.received.length = 0
    expect((await push({ forge })).status).toBe(200)
    return bearerAt(0)
  }
  expect(decodeJwt(await forged('audience')).aud).not.toBe(pubsub.audience)
  expect(decodeJwt(await forged('email')).email).not.toBe(pubsub.serviceAccount)
  expect(decodeJwt(await forged('unverified')).email_verified).toBe(false)
  expect(decodeJwt(await forged('expired')).exp).toBeLessThan(Date.now() / 1000)
  expect(decodeJwt(await forged('issuer')).iss).not.toBe(simulators.googleUrl)
  expect(decodeProtectedHeader(await forged('algNone')).alg).toBe('none')
  expect(decodeProtectedHeader(await forged('HS256')).alg).toBe('HS256')
  await expect(jwtVerify(await forged('key'), keys)).rejects.toMatchObject({
    code: 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED',
  })
  await expect(jwtVerify(await forged('kid'), keys)).rejects.toMatchObject({
    code: 'ERR_JWKS_NO_MATCHING_KEY',
  })
  expect(await forged('noHeader')).toBe('')
  await forged('subscription')
  expect(JSON.parse(receiver.received[0]?.body ?? '').subscription).not.toBe(pubsub.subscription)
  await new Promise((resolve) => setTimeout(resolve, 400))
  expect(receiver.received).toHaveLength(1)
})

test('an envelope of the tester goes out with a good token', async () => {
  await control(simulators).post('/pubsub-raw', { body: '{"message":' })
  expect(receiver.received[0]?.body).toBe('{"message":')
  expect(decodeJwt(bearerAt(0)).aud).toBe(pubsub.audience)
})

test('a watch ends after seven days of the simulated clock', async () => {
  await watched()
  const arrive = async () =>
    (await control(simulators).post('/message', { provider: 'google', account: gita })).json.pushes.length
  expect(await arrive()).toBe(1)
  await control(simulators).post('/clock', { advanceMs: 7 * 86_400_000 })
  expect(await arrive()).toBe(0)
  await control(simulators).post('/clock', { offsetMs: 0 })
  expect(await arrive()).toBe(1)
})
