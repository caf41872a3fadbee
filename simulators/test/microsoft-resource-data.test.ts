/**
 * Graph's notifications with resource data against protocols/microsoft.md §3. The subscriber's certificate is the one that
 * Microsoft published with its test vector; what is sent is decrypted here step by step, as the document says.
 */
import { createDecipheriv, createHmac, createPrivateKey, privateDecrypt, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { contosoTenant } from '../src/accounts.ts'
import type { Simulators } from '../src/start.ts'
import {
  call,
  clientId,
  consent,
  control,
  type Json,
  microsoftAuthUrl,
  type Receiver,
  redeemMicrosoft,
  start,
  startReceiver,
  withBearer,
} from './harness.ts'

const published = JSON.parse(
  readFileSync(
    new URL('../../providers/test/microsoft/fixtures/encrypted-content.json', import.meta.url),
    'utf8',
  ),
) as { certificateDerBase64: string; privateKeyPkcs8DerBase64: string }
const privateKey = createPrivateKey({
  key: Buffer.from(published.privateKeyPkcs8DerBase64, 'base64'),
  format: 'der',
  type: 'pkcs8',
})
const certificate = published.certificateDerBase64
const rich = {
  resource: 'me/messages?$select=id,subject,receivedDateTime',
  includeResourceData: true,
  encryptionCertificate: certificate,
  encryptionCertificateId: 'my-certificate',
}

let receiver: Receiver
let simulators: Simulators
let token: string

beforeAll(async () => {
  receiver = await startReceiver()
  simulators = await start(receiver)
  const scope = 'openid offline_access Mail.Read Files.ReadWrite.All Calendars.ReadWrite'
  const { parameters } = await consent(
    simulators,
    microsoftAuthUrl(simulators, { scope }),
    'adele@contoso.test',
  )
  token = (await redeemMicrosoft(simulators, parameters.get('code') ?? '')).json.access_token
})
beforeEach(async () => {
  await control(simulators).post('/reset', { redeliveries: true })
  for (const { id } of (await graph('GET', '')).json.value) await graph('DELETE', `/${id}`)
  receiver.received.length = 0
})
afterAll(async () => {
  await simulators.close()
  await receiver.close()
})

function graph(method: string, tail: string, body?: unknown) {
  const init = body === undefined ? { method } : { method, body: JSON.stringify(body) }
  return call(`${simulators.microsoftUrl}/v1.0/subscriptions${tail}`, withBearer(token, init))
}
const inMinutes = (minutes: number) => new Date(Date.now() + minutes * 60_000).toISOString()
const create = (more: Record<string, unknown> = {}) =>
  graph('POST', '', {
    changeType: 'created,updated,deleted',
    notificationUrl: `${receiver.url}/events`,
    lifecycleNotificationUrl: `${receiver.url}/events`,
    expirationDateTime: inMinutes(1_400),
    clientState: 'state',
    ...rich,
    ...more,
  })
const tell = (path: string, more: object = {}) =>
  control(simulators).post(path, { provider: 'microsoft', account: 'adele@contoso.test', ...more })
const faults = (switches: object) =>
  control(simulators).post('/faults', { provider: 'microsoft', ...switches })
const bodies = (): Json[] =>
  receiver.received.filter(({ body }) => body !== '').map(({ body }) => JSON.parse(body))

function decrypt(content: Json): Json {
  const key = privateDecrypt({ key: privateKey, oaepHash: 'sha1' }, Buffer.from(content.dataKey, 'base64'))
  const data = Buffer.from(content.data, 'base64')
  expect(createHmac('sha256', key).update(data).digest('base64')).toBe(content.dataSignature)
  const decipher = createDecipheriv('aes-256-cbc', key, key.subarray(0, 16))
  return JSON.parse(Buffer.concat([decipher.update(data), decipher.final()]).toString())
}

test('a subscription names a usable certificate with its id, a choice without bodies, and lives a day', async () => {
  const created = await create()
  expect(created.status).toBe(201)
  expect(created.json).toMatchObject({ includeResourceData: true, encryptionCertificateId: 'my-certificate' })
  expect(created.json).not.toHaveProperty('encryptionCertificate')
  await graph('DELETE', `/${created.json.id}`)
  const wrong: Record<string, unknown>[] = [
    { encryptionCertificate: undefined },
    { encryptionCertificate: undefined, encryptionCertificateId: undefined },
    { encryptionCertificateId: undefined },
    { encryptionCertificateId: 'x'.repeat(129) },
    { encryptionCertificate: 'not base64!' },
    { encryptionCertificate: Buffer.from('no certificate').toString('base64') },
    { resource: 'me/messages' },
    { resource: 'me/messages?$select=subject,body' },
    { resource: 'me/messages?$select=subject&$top=5' },
    { resource: 'me/drive/root?$select=id', changeType: 'updated' },
    { expirationDateTime: inMinutes(1_441) },
  ]
  for (const more of wrong) expect([(await create(more)).status, more]).toEqual([400, more])
})

test('what is sent is only what was chosen, encrypted anew each time to the named certificate', async () => {
  await create()
  await tell('/message', { subject: 'Figures' })
  await tell('/push')
  const [first, second] = bodies().map(({ value }) => value[0])
  expect(first.encryptedContent.encryptionCertificateThumbprint).toBe(
    new X509Certificate(Buffer.from(certificate, 'base64')).fingerprint.replaceAll(':', ''),
  )
  expect(first.encryptedContent.encryptionCertificateId).toBe('my-certificate')
  const resource = decrypt(first.encryptedContent)
  expect(Object.keys(resource).sort()).toEqual([
    'id',
    'receivedDateTime',
    'receivedDateTime@odata.type',
    'subject',
  ])
  expect(resource).toMatchObject({ subject: 'Figures', id: first.resourceData.id })
  expect(second.encryptedContent.dataKey).not.toBe(first.encryptedContent.dataKey)
  expect(decrypt(second.encryptedContent)).toEqual(resource)
})

test('a token of the tenant comes beside it, of either version, signed with the published keys', async () => {
  await create()
  for (const version of ['v1', 'v2']) {
    await faults({ validationTokensAs: version })
    await tell('/message')
  }
  const keys = createRemoteJWKSet(new URL(`${simulators.microsoftUrl}/common/discovery/keys`))
  const [one, two] = await Promise.all(
    bodies().map(async ({ validationTokens }) => {
      expect(validationTokens).toHaveLength(1)
      return (await jwtVerify(validationTokens[0], keys, { audience: clientId })).payload
    }),
  )
  const publisher = '0bf30f3b-4a52-48df-9a82-234910c4a086'
  expect(one).toMatchObject({
    iss: `https://sts.windows.net/${contosoTenant}/`,
    appid: publisher,
    tid: contosoTenant,
    ver: '1.0',
  })
  expect(two).toMatchObject({
    iss: `${simulators.microsoftUrl}/${contosoTenant}/v2.0`,
    azp: publisher,
    ver: '2.0',
  })
})

test('a renewal changes the certificate; without resource data there is none to change', async () => {
  const { id } = (await create()).json
  const renewed = await graph('PATCH', `/${id}`, {
    expirationDateTime: inMinutes(1_430),
    encryptionCertificate: certificate,
    encryptionCertificateId: 'the next one',
  })
  expect(renewed.json.encryptionCertificateId).toBe('the next one')
  expect((await graph('PATCH', `/${id}`, { encryptionCertificateId: 'alone' })).status).toBe(400)
  expect((await graph('PATCH', `/${id}`, { expirationDateTime: inMinutes(1_441) })).status).toBe(400)
  await tell('/message')
  expect(bodies()[0].value[0].encryptedContent.encryptionCertificateId).toBe('the next one')
  const plain = await create({ includeResourceData: false, resource: 'me/events' })
  expect(plain.json).toMatchObject({ includeResourceData: null, encryptionCertificateId: null })
  const changed = await graph('PATCH', `/${plain.json.id}`, {
    encryptionCertificate: certificate,
    encryptionCertificateId: 'x',
  })
  expect(changed.status).toBe(400)
})

test('it can be told to send what was met in the field, and nothing but null for tokens', async () => {
  await create()
  await faults({ itemsAs: 'seen', validationTokensAs: 'null' })
  await tell('/message', { subject: 'seen' })
  await tell('/lifecycle', { event: 'missed' })
  const [notified, lifecycle] = bodies()
  expect(notified.validationTokens).toBeNull()
  const [item] = notified.value
  expect(item).toMatchObject({ organizationId: contosoTenant, sequence: null })
  expect(item).not.toHaveProperty('tenantId')
  expect(item.subscriptionExpirationDateTime).toMatch(/\.\d{7}\+05:30$/)
  expect(decrypt(item.EncryptedContent).subject).toBe('seen')
  expect(lifecycle.value[0]).toMatchObject({ lifecycleEvent: 'missed', encryptedContent: null, resource: '' })
  expect(lifecycle.value[0]).not.toHaveProperty('changeType')
})

test('each forgery is wrong in what it says, and only there', async () => {
  await create()
  await tell('/message', { subject: 'forged' })
  receiver.received.length = 0
  const push = async (forge: string) => {
    receiver.received.length = 0
    await tell('/push', { forge })
    const [{ value, validationTokens }] = bodies()
    return {
      item: value[0],
      tokens: validationTokens,
      claims: validationTokens?.[0] && decodeJwt(validationTokens[0]),
    }
  }
  const signature = (content: Json) => {
    const key = privateDecrypt({ key: privateKey, oaepHash: 'sha1' }, Buffer.from(content.dataKey, 'base64'))
    return createHmac('sha256', key).update(Buffer.from(content.data, 'base64')).digest('base64')
  }
  for (const forge of ['data', 'dataSignature']) {
    const { encryptedContent } = (await push(forge)).item
    expect(signature(encryptedContent)).not.toBe(encryptedContent.dataSignature)
  }
  expect((await push('noTokens')).tokens).toBeUndefined()
  expect((await push('tokenTenant')).claims.tid).not.toBe(contosoTenant)
  expect((await push('tokenPublisher')).claims.azp).not.toBe('0bf30f3b-4a52-48df-9a82-234910c4a086')
  expect((await push('tokenExpired')).claims.exp).toBeLessThan(Date.now() / 1000)
  expect((await push('tokenAudience')).claims.aud).not.toBe(clientId)
  const { tokens, item } = await push('tokenKey')
  const keys = createRemoteJWKSet(new URL(`${simulators.microsoftUrl}/common/discovery/v2.0/keys`))
  await expect(jwtVerify(tokens[0], keys)).rejects.toThrow(/signature/)
  expect(decrypt(item.encryptedContent).subject).toBe('forged')
})
