/** Notifications with resource data: who sent them, for which tenant, and what of them may be believed. */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { microsoft } from '../../src/microsoft/index.ts'
import type { KnownSubscription, Lookup, Provider, Verdict } from '../../src/provider.ts'
import { openWith } from '../conformance.ts'
import { makeSigner, notification, startClock, type TestClock } from '../loopback.ts'
import { encrypt, lookupOf, type TestCertificate, testCertificate, validationToken } from './rich-ground.ts'
import { type MicrosoftWorld, startMicrosoft, TENANT_A, TENANT_B } from './world.ts'

const subscription = (name: string, tenant: string | undefined): KnownSubscription => ({
  id: `sub_${name}`,
  connectionId: `con_${name}`,
  resource: 'me/messages',
  providerSubscriptionId: `graph-${name}`,
  accountKey: `${tenant}:o`,
  tenant,
})
const A = subscription('a', TENANT_A)
const B = subscription('b', TENANT_B)
const RESOURCE = {
  id: 'AAMkAD_xyz=',
  subject: 'Quarterly figures',
  'receivedDateTime@odata.type': '#DateTimeOffset',
  receivedDateTime: '2026-09-20T09:59:58Z',
}

let certificateA: TestCertificate
let certificateB: TestCertificate
let lookup: Lookup
beforeAll(async () => {
  certificateA = await testCertificate('crt_a')
  certificateB = await testCertificate('crt_b')
  lookup = lookupOf([A, B], { sub_a: [certificateA], sub_b: [certificateB] })
})

describe('notifications with resource data', () => {
  let clock: TestClock
  let world: MicrosoftWorld
  let provider: Provider
  beforeEach(async () => {
    clock = startClock()
    world = await startMicrosoft(clock)
    provider = openWith(microsoft, world.environment, clock)
  })
  afterEach(() => world.close())

  const token = (version: 1 | 2 = 2, tid = TENANT_A, claims: Record<string, unknown> = {}) =>
    validationToken({ signer: world.signer, clock, loginUrl: world.server.url }, version, tid, claims)
  const item = (more: object = {}, of = A, certificate = certificateA) => ({
    subscriptionId: of.providerSubscriptionId,
    subscriptionExpirationDateTime: '2026-09-20T16:16:44.9907405+05:30',
    clientState: `state-${of.id}`,
    changeType: 'created',
    resource: "Users('u')/messages('AAMkAD_xyz=')",
    tenantId: of.tenant,
    resourceData: {
      '@odata.type': '#microsoft.graph.message',
      '@odata.etag': 'W/"CQ"',
      id: 'AAMkAD_xyz=',
    },
    encryptedContent: encrypt(certificate, RESOURCE),
    ...more,
  })
  const judge = (value: unknown[], validationTokens?: unknown, at = lookup): Promise<Verdict> =>
    provider.webhook.judge(
      notification({ ref: 'ref-sub_a', body: Buffer.from(JSON.stringify({ value, validationTokens })) }),
      at,
    )
  const facts = (verdict: Verdict) => (verdict.kind === 'verified' ? verdict.facts : [])
  const refused = (reason: string) => expect.objectContaining({ kind: 'rejected', status: 202, reason })

  it.each([1, 2] as const)(
    'WI-01 with a token of version %i the decrypted resource stands in the fact',
    async (version) => {
      const verdict = await judge([item()], [await token(version)])
      expect(verdict).toMatchObject({ kind: 'verified', status: 202, rejected: [] })
      const [fact] = facts(verdict)
      expect(fact).toMatchObject({
        connectionId: 'con_a',
        subject: 'messages/AAMkAD_xyz=',
        originType: 'Microsoft.Graph.MessageCreated',
        data: { resourceId: 'AAMkAD_xyz=', resourceData: RESOURCE },
      })
      expect(fact?.unreadable).toBeUndefined()
      expect(JSON.stringify(fact)).not.toContain('state-sub_a')
      expect(JSON.stringify(fact)).not.toContain('crt_a')
    },
  )

  const badTokens: [string, () => Promise<unknown> | unknown, string][] = [
    ['no tokens at all', () => undefined, 'no_validation_token'],
    ['null instead of tokens: the tenant was not set up', () => null, 'no_validation_token'],
    ['an empty list', () => [], 'no_validation_token'],
    ['tokens that are no list', () => 'token', 'no_validation_token'],
    ['a null among the tokens', () => [null], 'null_validation_token'],
    ['a token that is no token', () => ['a.b.c'], 'malformed_token'],
    [
      'more tokens than anybody sends',
      () => Array.from({ length: 65 }, () => 'x'),
      'too_many_validation_tokens',
    ],
    ["another tenant's token", async () => [await token(2, TENANT_B)], 'token_of_another_tenant'],
    ["another tenant's token, version 1", async () => [await token(1, TENANT_B)], 'token_of_another_tenant'],
    [
      'an issuer of another tenant than the token says',
      async () => [await token(2, TENANT_A, { iss: `${world.server.url}/${TENANT_B}/v2.0` })],
      'wrong_issuer',
    ],
    [
      'an issuer that only begins like one',
      async () => [await token(1, TENANT_A, { iss: `https://sts.windows.net/${TENANT_A}/x` })],
      'wrong_issuer',
    ],
    ['no issuer', async () => [await token(2, TENANT_A, { iss: undefined })], 'wrong_issuer'],
    ['a tenant that is no GUID', async () => [await token(2, 'common')], 'wrong_issuer'],
    ['another audience', async () => [await token(2, TENANT_A, { aud: 'client-2' })], 'wrong_audience'],
    [
      'our audience among others',
      async () => [await token(2, TENANT_A, { aud: ['client-1', 'client-2'] })],
      'wrong_audience',
    ],
    [
      'another publisher in azp',
      async () => [await token(2, TENANT_A, { azp: TENANT_B })],
      'wrong_publisher',
    ],
    [
      'another publisher in appid',
      async () => [await token(1, TENANT_A, { appid: TENANT_B })],
      'wrong_publisher',
    ],
    [
      'the publisher in one claim and another in the other',
      async () => [await token(2, TENANT_A, { appid: TENANT_B })],
      'wrong_publisher',
    ],
    ['no publisher', async () => [await token(1, TENANT_A, { appid: undefined })], 'wrong_publisher'],
    [
      'an expired token',
      async () => [await token(2, TENANT_A, { exp: clock.now.getTime() / 1000 - 61 })],
      'expired_token',
    ],
    [
      'a token that is not valid yet',
      async () => [await token(2, TENANT_A, { nbf: clock.now.getTime() / 1000 + 90 })],
      'bad_time',
    ],
    ['no expiry', async () => [await token(2, TENANT_A, { exp: undefined })], 'bad_time'],
    [
      'a signature of another key under the same name',
      async () => {
        const forger = await makeSigner('k1', {}, 'forger')
        return [await validationToken({ signer: forger, clock, loginUrl: world.server.url }, 2, TENANT_A)]
      },
      'bad_signature',
    ],
  ]
  it.each(badTokens)('WI-01 %s: answered 202, nothing stored', async (_, tokens, reason) => {
    expect(await judge([item()], await tokens())).toEqual(refused(reason))
  })

  it('WI-13 a token of a key that is not published yet is to be repeated, and counted: acknowledged it would be lost', async () => {
    world.server.reply('/common/discovery/keys', { status: 200, body: { keys: [world.signer.jwk] } })
    const next = await makeSigner('k9')
    const signed = await validationToken({ signer: next, clock, loginUrl: world.server.url }, 2, TENANT_A)
    const undecided = { kind: 'unavailable', reason: 'unknown_key', rejected: ['unknown_key'] }
    expect(await judge([item()], [signed])).toEqual(undecided)
    // a stranger gets no repetition by naming a key
    expect(await judge([item({ clientState: 'state-sub_c' })], [signed])).toEqual(refused('bad_client_state'))
    world.publish(world.signer, next)
    clock.forward(29)
    expect(await judge([item()], [signed])).toEqual(undecided)
    clock.forward(1)
    expect(facts(await judge([item()], [signed]))).toHaveLength(1)
  })

  it('WI-01 a key that may sign for one issuer signs no token of another tenant', async () => {
    const bound = await makeSigner('k2', { issuer: `${world.server.url}/${TENANT_B}/v2.0` })
    world.publish(world.signer, bound)
    const signed = (version: 1 | 2, tid: string) =>
      validationToken({ signer: bound, clock, loginUrl: world.server.url }, version, tid)
    expect(await judge([item()], [await signed(2, TENANT_A)])).toEqual(refused('wrong_issuer'))
    expect(await judge([item()], [await signed(1, TENANT_A)])).toEqual(refused('wrong_issuer'))
    const ofB = item({}, B, certificateB)
    expect(facts(await judge([ofB], [await signed(1, TENANT_B)]))).toHaveLength(1)
  })

  it('keys that are published for version 1 alone are found too', async () => {
    const old = await makeSigner('k3')
    world.server.reply('/common/discovery/keys', { status: 200, body: { keys: [old.jwk] } })
    const signed = await validationToken({ signer: old, clock, loginUrl: world.server.url }, 1, TENANT_A)
    expect(facts(await judge([item()], [signed]))).toHaveLength(1)
  })

  it('WI-13 while the keys cannot be reached it is to be repeated; known ones work on for a day', async () => {
    const good = await token()
    world.server.reply('/common/discovery/v2.0/keys', { status: 503 })
    world.server.reply('/common/discovery/keys', { status: 503 })
    expect(await judge([item()], [good])).toEqual({ kind: 'unavailable', reason: 'keys_unreachable' })
    world.publish(world.signer)
    clock.forward(3)
    expect(facts(await judge([item()], [good]))).toHaveLength(1)
    world.server.reply('/common/discovery/v2.0/keys', { status: 503 })
    clock.forward(20 * 3600)
    expect(facts(await judge([item()], [await token()]))).toHaveLength(1)
    clock.forward(5 * 3600)
    expect(await judge([item()], [await token()])).toEqual({
      kind: 'unavailable',
      reason: 'keys_unreachable',
    })
  })

  it('tokens are verified only for items that are proven otherwise, and keys then asked for once', async () => {
    const unproven = item({ clientState: 'state-sub_c' })
    expect(await judge([unproven, { ...unproven }], [await token()])).toEqual(refused('bad_client_state'))
    expect(world.server.requestsTo('/common/discovery/v2.0/keys')).toHaveLength(0)
    await judge([item(), item(), item()], [await token()])
    expect(world.server.requestsTo('/common/discovery/v2.0/keys')).toHaveLength(1)
  })

  it('WI-12 items of two tenants are each judged by their own token, and what has no content by none', async () => {
    const plain = { ...item({}, B), encryptedContent: null }
    const items = [item(), item({}, B, certificateB), plain]
    const both = await judge(items, [await token(1), await token(2, TENANT_B)])
    expect(facts(both).map(({ connectionId }) => connectionId)).toEqual(['con_a', 'con_b', 'con_b'])
    expect(facts(both).map(({ data }) => 'resourceData' in data)).toEqual([true, true, false])
    const onlyA = await judge(items, [await token(), await token(2, TENANT_B, { aud: 'client-2' })])
    expect(facts(onlyA).map(({ connectionId }) => connectionId)).toEqual(['con_a', 'con_b'])
    expect(onlyA).toMatchObject({ rejected: ['wrong_audience'] })
    const swapped = await judge([item()], [await token(2, TENANT_B)])
    expect(swapped).toEqual(refused('token_of_another_tenant'))
  })

  it('an item without a tenant needs the token of its connection’s tenant; organizationId is as good as tenantId', async () => {
    for (const tenants of [
      { tenantId: undefined },
      { tenantId: undefined, organizationId: TENANT_A.toUpperCase() },
      { organizationId: TENANT_A },
    ]) {
      expect(facts(await judge([item(tenants)], [await token()]))).toHaveLength(1)
      expect(await judge([item(tenants)], [await token(2, TENANT_B)])).toEqual(
        refused('token_of_another_tenant'),
      )
    }
    expect(await judge([item({ organizationId: TENANT_B })], [await token()])).toEqual(
      refused('wrong_tenant'),
    )
    const nobody = subscription('n', undefined)
    const of = lookupOf([nobody], { sub_n: [certificateA] })
    const body = Buffer.from(
      JSON.stringify({
        value: [{ ...item({}, nobody), tenantId: TENANT_A }],
        validationTokens: [await token()],
      }),
    )
    expect(await provider.webhook.judge(notification({ ref: 'ref-sub_n', body }), of)).toEqual(
      refused('token_of_another_tenant'),
    )
  })

  it('WI-01 content whose HMAC is wrong is answered 202 and leaves nothing, whatever else is right', async () => {
    const content = encrypt(certificateA, RESOURCE)
    const forged = { ...content, dataSignature: encrypt(certificateA, RESOURCE).dataSignature }
    expect(await judge([item({ encryptedContent: forged })], [await token()])).toEqual(
      refused('bad_data_signature'),
    )
    const beside = await judge([item({ encryptedContent: forged }), item()], [await token()])
    expect(beside).toMatchObject({ kind: 'verified', rejected: ['bad_data_signature'] })
    expect(facts(beside)).toHaveLength(1)
  })

  it('WI-01 content twice, in both spellings, is believed in neither', async () => {
    const twice = item({ EncryptedContent: encrypt(certificateA, { id: 'another' }) })
    expect(await judge([twice], [await token()])).toEqual(refused('bad_encrypted_content'))
    const { encryptedContent, ...rest } = item()
    expect(
      facts(await judge([{ ...rest, EncryptedContent: encryptedContent }], [await token()]))[0]?.data,
    ).toMatchObject({ resourceData: RESOURCE })
  })

  it('nothing is lost when it cannot be read: the event stands without its resource and says why', async () => {
    const wrongKey = { ...encrypt(certificateB, RESOURCE), encryptionCertificateId: 'crt_a' }
    const cases: [object, string][] = [
      [encrypt(certificateB, RESOURCE), 'unknown_certificate'],
      [wrongKey, 'wrong_certificate'],
      [encrypt(certificateA, undefined, { text: 'no JSON' }), 'bad_resource'],
    ]
    for (const [encryptedContent, reason] of cases) {
      const verdict = await judge([item({ encryptedContent })], [await token()])
      expect(facts(verdict)).toMatchObject([
        { unreadable: reason, subject: 'messages/AAMkAD_xyz=', data: { resourceDataMissing: reason } },
      ])
      expect(facts(verdict)[0]?.data).not.toHaveProperty('resourceData')
    }
  })

  it('WI-12 a certificate of another subscription opens nothing, although we have its key', async () => {
    const verdict = await judge(
      [item({ encryptedContent: encrypt(certificateB, RESOURCE) })],
      [await token()],
    )
    expect(JSON.stringify(verdict)).not.toContain('Quarterly figures')
  })

  it('during a rotation the old certificate and the new one both open', async () => {
    const next = await testCertificate('crt_next')
    const both = lookupOf([A], { sub_a: [certificateA, next] })
    const items = [item(), item({ encryptedContent: encrypt(next, { ...RESOURCE, subject: 'newer' }) })]
    expect(facts(await judge(items, [await token()], both)).map(({ data }) => data.resourceData)).toEqual([
      RESOURCE,
      { ...RESOURCE, subject: 'newer' },
    ])
  })

  it('an item that names no id takes the one of its resource', async () => {
    const nameless = item({ resource: '', resourceData: undefined })
    const [fact] = facts(await judge([nameless], [await token()]))
    expect(fact).toMatchObject({ subject: 'messages/AAMkAD_xyz=', data: { resourceId: 'AAMkAD_xyz=' } })
  })

  it('WI-04 a repetition that was encrypted anew is the same fact', async () => {
    const once = async () => facts(await judge([item()], [await token()]))[0]?.identity
    const first = await once()
    expect(first).toMatch(/^[0-9a-f]{64}$/)
    expect(await once()).toBe(first)
  })

  it('a lifecycle item of the shape seen in the field needs no token and takes one that is there', async () => {
    const lifecycle = {
      lifecycleEvent: 'reauthorizationRequired',
      subscriptionId: 'graph-a',
      resource: '',
      clientState: 'state-sub_a',
      sequence: null,
      resourceData: {},
      encryptedContent: null,
      organizationId: TENANT_A,
      subscriptionExpirationDateTime: '2026-09-20T16:16:44.9907405+05:30',
    }
    for (const tokens of [undefined, null, [await token()], ['nonsense']])
      expect(facts(await judge([lifecycle], tokens))).toMatchObject([
        { type: 'subscription.v1.reauthorization_required', subject: 'subscriptions/sub_a' },
      ])
  })
})
