/** What Graph is asked for with resource data: which resources, which properties, for how long, with which certificate. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { microsoft } from '../../src/microsoft/index.ts'
import { Secret } from '../../src/secret.ts'
import { openWith } from '../conformance.ts'
import { startClock, type TestClock } from '../loopback.ts'
import { type MicrosoftWorld, startMicrosoft, TENANT_A } from './world.ts'

const PERSONAL = '9188040d-6c67-4c5b-b112-36a304b66dad'
const ENCRYPTION = { certificateId: 'crt_1', certificate: 'MIIB' }

describe('subscriptions with resource data', () => {
  let clock: TestClock
  let world: MicrosoftWorld
  beforeEach(async () => {
    clock = startClock()
    world = await startMicrosoft(clock)
  })
  afterEach(() => world.close())

  const open = (resourceData?: string) =>
    openWith(
      microsoft,
      resourceData === undefined
        ? world.environment
        : { ...world.environment, MICROSOFT_RESOURCE_DATA: resourceData },
      clock,
    ).subscriptions
  const wants = (side: ReturnType<typeof open>, resource: string, more: object = {}) =>
    side.encryption?.wants({
      resource,
      tenant: TENANT_A,
      grantedScopes: ['Mail.Read', 'Calendars.Read', 'Files.ReadWrite.All'],
      ...more,
    })
  const answer = (minutes: number) => ({
    status: 201,
    body: {
      id: 'g-1',
      expirationDateTime: new Date(clock.now.getTime() + minutes * 60_000).toISOString(),
    },
  })
  const call = (resource: string) => ({
    resource,
    accessToken: new Secret('t'),
    signal: AbortSignal.timeout(1_000),
  })

  it('is off by default, and then nothing of a request changes', async () => {
    for (const resource of ['me/messages', 'me/events', 'me/drive/root'])
      expect(wants(open(), resource)).toBe(false)
    world.server.reply('/v1.0/subscriptions', answer(10_000))
    await open().create({
      ...call('me/messages'),
      notificationUrl: 'https://hooks.example/r',
      channelSecret: new Secret('s'),
    })
    const body = JSON.parse(world.server.requestsTo('/v1.0/subscriptions')[0]?.body ?? '')
    expect(body.resource).toBe('me/messages')
    expect(Object.keys(body).filter((name) => /includeResourceData|encryption/.test(name))).toEqual([])
  })

  it('is for the resources that are named, where permission and account carry it', () => {
    const mail = open('mail')
    expect(wants(mail, 'me/messages')).toBe(true)
    expect(wants(mail, 'me/events')).toBe(false)
    expect(wants(open('mail,calendar'), 'me/events')).toBe(true)
    expect(wants(open('mail,calendar'), 'me/drive/root')).toBe(false)
    expect(wants(mail, 'me/messages', { grantedScopes: ['Mail.ReadBasic'] })).toBe(false)
    expect(wants(mail, 'me/messages', { grantedScopes: [`${world.server.url}/Mail.ReadWrite`] })).toBe(true)
    expect(wants(mail, 'me/messages', { tenant: PERSONAL })).toBe(false)
    expect(wants(mail, 'me/messages', { tenant: undefined })).toBe(false)
    expect(wants(open('none'), 'me/messages')).toBe(false)
  })

  it.each([['drive'], ['mail,files'], ['on']])('the setting does not take %s', (value) => {
    const reading = microsoft.readSettings({ ...world.environment, MICROSOFT_RESOURCE_DATA: value }, 'local')
    expect(reading).toMatchObject({ kind: 'invalid' })
  })

  it('what is not watched cannot have content: said at the start', () => {
    const environment = {
      ...world.environment,
      MICROSOFT_WATCH: 'mail',
      MICROSOFT_RESOURCE_DATA: 'mail,calendar',
    }
    const reading = microsoft.readSettings(environment, 'local')
    expect(reading.kind === 'invalid' && reading.mistakes).toEqual([
      'MICROSOFT_RESOURCE_DATA names something that MICROSOFT_WATCH does not: add it there.',
    ])
  })

  it.each(['me/messages', 'me/events'])(
    'creation of %s carries the certificate, its id and a choice without bodies, for a day at most',
    async (resource) => {
      world.server.reply('/v1.0/subscriptions', answer(1_430))
      const outcome = await open('mail,calendar').create({
        ...call(resource),
        notificationUrl: 'https://hooks.example/r',
        channelSecret: new Secret('s'),
        encryption: ENCRYPTION,
      })
      expect(outcome).toMatchObject({ kind: 'created', providerSubscriptionId: 'g-1' })
      const body = JSON.parse(world.server.requestsTo('/v1.0/subscriptions')[0]?.body ?? '')
      expect(body).toMatchObject({
        includeResourceData: true,
        encryptionCertificate: 'MIIB',
        encryptionCertificateId: 'crt_1',
      })
      expect(body.resource).toMatch(new RegExp(`^${resource}\\?\\$select=id,subject,`))
      expect(body.resource).not.toMatch(/[=,](body|uniqueBody)(,|$)/i)
      const minutes = (Date.parse(body.expirationDateTime) - clock.now.getTime()) / 60_000
      expect(minutes).toBe(1_430)
    },
  )

  it('a renewal carries the certificate too, and asks for a day', async () => {
    world.server.reply('/v1.0/subscriptions/g-1', { ...answer(1_430), status: 200 })
    const outcome = await open('mail').renew({
      ...call('me/messages'),
      providerSubscriptionId: 'g-1',
      grantedLifeMs: 1_430 * 60_000,
      encryption: { ...ENCRYPTION, certificateId: 'crt_2' },
    })
    expect(outcome.kind).toBe('renewed')
    const body = JSON.parse(world.server.requestsTo('/v1.0/subscriptions/g-1')[0]?.body ?? '')
    expect(body).toMatchObject({ encryptionCertificate: 'MIIB', encryptionCertificateId: 'crt_2' })
    expect((Date.parse(body.expirationDateTime) - clock.now.getTime()) / 60_000).toBe(1_430)
  })

  it('an expiry with an offset and seven digits is read right', async () => {
    world.server.reply('/v1.0/subscriptions', {
      status: 201,
      body: { id: 'g-1', expirationDateTime: '2026-09-20T21:31:00.9907405+05:30' },
    })
    expect(
      await open('mail').create({
        ...call('me/messages'),
        notificationUrl: 'https://hooks.example/r',
        channelSecret: new Secret('s'),
        encryption: ENCRYPTION,
      }),
    ).toMatchObject({ kind: 'created', expiresAt: new Date('2026-09-20T16:01:00.990Z') })
  })

  it('a drive is never asked for with content', async () => {
    expect(
      await open('mail').create({
        ...call('me/drive/root'),
        notificationUrl: 'https://hooks.example/r',
        channelSecret: new Secret('s'),
        encryption: ENCRYPTION,
      }),
    ).toMatchObject({ kind: 'failed', failure: { class: 'our_configuration' } })
    expect(world.server.requests).toHaveLength(0)
  })
})
