/** Judging Graph notifications, handshakes and relays: mutation matrices and hostile bodies. */
import { createHmac } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { microsoft } from '../../src/microsoft/index.ts'
import type { Fact, KnownSubscription, Lookup, NotificationRequest, Verdict } from '../../src/provider.ts'
import { openWith } from '../conformance.ts'
import { NOTHING_KNOWN, notification, startClock } from '../loopback.ts'
import { RELAY_SECRET, TENANT_A, TENANT_B } from './world.ts'

const ENVIRONMENT = {
  MICROSOFT_CLIENT_ID: 'client-1',
  MICROSOFT_CLIENT_SECRET: 's',
  MICROSOFT_WEBHOOK_SECRET: RELAY_SECRET,
}
const { webhook } = openWith(microsoft, ENVIRONMENT, startClock())

const SUBSCRIPTION_A: KnownSubscription = {
  id: 'sub_a',
  connectionId: 'con_a',
  resource: 'me/messages',
  providerSubscriptionId: 'graph-a',
  accountKey: `${TENANT_A}:o`,
  tenant: TENANT_A,
}
const SUBSCRIPTION_B: KnownSubscription = {
  id: 'sub_b',
  connectionId: 'con_b',
  resource: 'me/messages',
  providerSubscriptionId: 'graph-b',
  accountKey: `${TENANT_B}:o`,
  tenant: TENANT_B,
}

function lookupOf(...known: KnownSubscription[]): Lookup {
  return {
    ...NOTHING_KNOWN,
    genuineRef: (ref) => known.find((subscription) => ref === `ref-${subscription.id}`)?.id,
    byChannelSecret: async (presented) =>
      known.find((subscription) => presented === `state-${subscription.id}`),
  }
}
const LOOKUP = lookupOf(SUBSCRIPTION_A, SUBSCRIPTION_B)

const ITEM = {
  subscriptionId: 'graph-a',
  subscriptionExpirationDateTime: '2026-09-19T22:11:09.952Z',
  clientState: 'state-sub_a',
  changeType: 'created',
  resource: `users/u@${TENANT_A}/messages/AAMkAD_xyz=`,
  tenantId: TENANT_A,
  resourceData: {
    '@odata.type': '#Microsoft.Graph.Message',
    '@odata.id': 'Users/u/Messages/AAMkAD_xyz=',
    '@odata.etag': 'W/"CQAAABYAAAD"',
    id: 'AAMkAD_xyz=',
  },
}
const ITEM_B = { ...ITEM, subscriptionId: 'graph-b', clientState: 'state-sub_b', tenantId: TENANT_B }

function graph(items: unknown, more: Partial<NotificationRequest> = {}): NotificationRequest {
  return notification({ ref: 'ref-sub_a', body: Buffer.from(JSON.stringify({ value: items })), ...more })
}

async function factOf(item: unknown, lookup = LOOKUP): Promise<Fact> {
  const verdict = await webhook.judge(graph([item]), lookup)
  const fact = verdict.kind === 'verified' ? verdict.facts[0] : undefined
  if (fact === undefined) throw new Error(JSON.stringify(verdict))
  return fact
}

describe('Graph notifications', () => {
  it('WI-01 a genuine item becomes a fact of its own connection', async () => {
    const verdict = await webhook.judge(graph([ITEM]), LOOKUP)
    expect(verdict).toMatchObject({ kind: 'verified', status: 202, rejected: [] })
    expect(await factOf(ITEM)).toMatchObject({
      connectionId: 'con_a',
      subscriptionId: 'sub_a',
      type: 'mail.mailbox.v1.notified',
      originType: 'Microsoft.Graph.MessageCreated',
      subject: 'messages/AAMkAD_xyz=',
      data: {
        changeType: 'created',
        subscriptionId: 'graph-a',
        resourceId: 'AAMkAD_xyz=',
        tenantId: TENANT_A,
      },
    })
  })

  it('WI-01 genuine items at an address that is not ours, or without any, are refused', async () => {
    expect(await webhook.judge(graph([ITEM], { ref: 'ref-of-nobody' }), LOOKUP)).toEqual({
      kind: 'rejected',
      status: 404,
      reason: 'bad_ref',
    })
    expect(await webhook.judge(graph([ITEM], { ref: undefined }), LOOKUP)).toEqual({
      kind: 'rejected',
      status: 401,
      reason: 'no_signature',
    })
  })

  it('never puts the clientState into a fact', async () => {
    for (const item of [ITEM, { ...ITEM, changeType: undefined, lifecycleEvent: 'missed' }]) {
      expect(JSON.stringify(await factOf(item))).not.toContain('state-sub_a')
    }
  })

  it('tells what is proven and not understood, instead of losing it', async () => {
    for (const changeType of ['constructor', 'restored', undefined]) {
      const fact = await factOf({ ...ITEM, changeType })
      expect(fact).toMatchObject({
        type: 'mail.mailbox.v1.notified',
        originType: 'Microsoft.Graph.MessageChanged',
        connectionId: 'con_a',
      })
      expect(fact?.data.changeType).toBe(changeType)
    }
    const other = { ...ITEM, resourceData: { '@odata.type': '#Microsoft.Graph.Event', id: 'x' } }
    const fact = await factOf(other)
    expect(fact).toMatchObject({
      type: 'mail.mailbox.v1.notified',
      data: { resourceType: '#Microsoft.Graph.Event' },
    })
    expect(fact?.subject).toBeUndefined()
    expect(fact?.data).not.toHaveProperty('resourceId')
    // both fields at once are not documented; what is said about the subscription must not be missed
    expect(await factOf({ ...ITEM, lifecycleEvent: 'missed' })).toMatchObject({
      type: 'subscription.v1.missed',
    })
  })

  const mutations: [string, unknown, string][] = [
    ['no clientState', { ...ITEM, clientState: undefined }, 'bad_client_state'],
    ['a null clientState', { ...ITEM, clientState: null }, 'bad_client_state'],
    ['a wrong clientState', { ...ITEM, clientState: 'state-sub_c' }, 'bad_client_state'],
    ['a truncated clientState', { ...ITEM, clientState: 'state-sub_' }, 'bad_client_state'],
    ['the clientState in capitals', { ...ITEM, clientState: 'STATE-SUB_A' }, 'bad_client_state'],
    ['a clientState with a space', { ...ITEM, clientState: 'state-sub_a ' }, 'bad_client_state'],
    ['a clientState in a list', { ...ITEM, clientState: ['state-sub_a'] }, 'bad_client_state'],
    ["another tenant's clientState", { ...ITEM, clientState: 'state-sub_b' }, 'wrong_subscription'],
    ['another subscription', { ...ITEM, subscriptionId: 'graph-b' }, 'wrong_subscription'],
    ['no subscription', { ...ITEM, subscriptionId: undefined }, 'wrong_subscription'],
    ['another tenantId', { ...ITEM, tenantId: TENANT_B }, 'wrong_tenant'],
    ['another organizationId', { ...ITEM, organizationId: TENANT_B }, 'wrong_tenant'],
    ['a tenantId that is no text', { ...ITEM, tenantId: 1 }, 'wrong_tenant'],
    ['encrypted content alone', { ...ITEM, encryptedContent: { data: '' } }, 'no_validation_token'],
    ['encrypted content in the other spelling', { ...ITEM, EncryptedContent: {} }, 'no_validation_token'],
    [
      'an unknown lifecycle event',
      { ...ITEM, changeType: undefined, lifecycleEvent: 'toString' },
      'unknown_lifecycle',
    ],
    ['a number for an item', 7, 'bad_item'],
  ]
  it.each(mutations)('WI-01 an item with %s is dropped with 202', async (_name, item, reason) => {
    // what holds a secret of ours is not held against its sender
    const forged = reason === 'bad_client_state' || reason === 'bad_item' ? 1 : 0
    const refusal = { kind: 'rejected', status: 202, reason, others: [], forged }
    expect(await webhook.judge(graph([item]), LOOKUP)).toEqual(refusal)
    const beside = await webhook.judge(graph([item, ITEM]), LOOKUP)
    expect(beside).toMatchObject({ kind: 'verified', status: 202, rejected: [reason], forged })
    const three = await webhook.judge(graph([item, item, 7]), LOOKUP)
    expect(three).toEqual({ ...refusal, others: [reason, 'bad_item'], forged: 2 * forged + 1 })
  })

  it('WI-12 items of two tenants, an unknown subscription and a bad clientState: each judged alone', async () => {
    const unknown = { ...ITEM, subscriptionId: 'graph-z', clientState: 'state-sub_z' }
    const verdict = await webhook.judge(
      graph([ITEM, ITEM_B, unknown, { ...ITEM_B, clientState: 'bad' }]),
      LOOKUP,
    )
    if (verdict.kind !== 'verified') throw new Error(verdict.kind)
    expect(verdict.status).toBe(202)
    expect(verdict.facts.map((fact) => [fact.connectionId, fact.subscriptionId, fact.data.tenantId])).toEqual(
      [
        ['con_a', 'sub_a', TENANT_A],
        ['con_b', 'sub_b', TENANT_B],
      ],
    )
    expect(verdict.rejected).toEqual(['bad_client_state', 'bad_client_state'])
  })

  it('a notification before our create call was answered belongs to the subscription in its URL', async () => {
    const young = { ...SUBSCRIPTION_A, providerSubscriptionId: undefined }
    expect((await factOf(ITEM, lookupOf(young))).subscriptionId).toBe('sub_a')
    const nameless = graph([{ ...ITEM, subscriptionId: undefined }])
    expect(await webhook.judge(nameless, lookupOf(young))).toMatchObject({
      kind: 'rejected',
      reason: 'wrong_subscription',
    })
    const strayed = graph([ITEM], { ref: 'ref-sub_b' })
    expect(await webhook.judge(strayed, lookupOf(young, SUBSCRIPTION_B))).toMatchObject({
      kind: 'rejected',
      reason: 'wrong_subscription',
    })
  })

  it('accepts organizationId instead of tenantId, both, or neither', async () => {
    for (const tenants of [
      { tenantId: undefined },
      { organizationId: TENANT_A.toUpperCase() },
      { tenantId: undefined, organizationId: TENANT_A },
    ]) {
      expect((await factOf({ ...ITEM, ...tenants })).connectionId).toBe('con_a')
    }
  })

  it.each([
    ['missed', 'subscription.v1.missed'],
    ['subscriptionRemoved', 'subscription.v1.removed'],
    ['reauthorizationRequired', 'subscription.v1.reauthorization_required'],
  ])('a lifecycle item %s, in the shape seen in the field, is always new', async (lifecycleEvent, type) => {
    const { tenantId: _, changeType: __, resourceData: ___, ...rest } = ITEM
    const fact = await factOf({
      ...rest,
      lifecycleEvent,
      resource: '',
      organizationId: TENANT_A,
      encryptedContent: null,
      sequence: null,
    })
    expect(fact).toMatchObject({
      type,
      originType: `Microsoft.Graph.${lifecycleEvent}`,
      subject: 'subscriptions/sub_a',
      identity: undefined,
    })
  })

  it('WI-04 a repeated item has one identity, another change has another', async () => {
    const identity = async (change: object) => (await factOf({ ...ITEM, ...change })).identity
    const first = await identity({})
    expect(first).toMatch(/^[0-9a-f]{64}$/)
    expect(await identity({ subscriptionExpirationDateTime: '2026-09-19T23:00:00Z' })).toBe(first)
    const others = await Promise.all([
      identity({ changeType: 'updated' }),
      identity({ resourceData: { ...ITEM.resourceData, id: 'other' } }),
      identity({ resourceData: { ...ITEM.resourceData, '@odata.etag': 'W/"2"' } }),
      identity({ id: 'lsgTZMr9KwAAA' }),
      identity({ id: 'lsgTZMr9KwBBB' }),
    ])
    expect(new Set([first, ...others]).size).toBe(6)
    expect(await identity({ resourceData: { id: 'x' } })).toBeUndefined()
  })

  it.each(["Users('u')/messages('AAMkAD_xyz=')", 'Users/u/Messages/AAMkAD_xyz='])(
    'finds the message in %s',
    async (resource) => {
      expect((await factOf({ ...ITEM, resource, resourceData: undefined })).subject).toBe(
        'messages/AAMkAD_xyz=',
      )
    },
  )

  it('WI-10 a NUL or a lone surrogate in an id never reaches a subject, and data stays storable', async () => {
    for (const id of ['a\u0000b', 'a\ud800b', 'x'.repeat(5000)]) {
      const fact = await factOf({ ...ITEM, resourceData: { ...ITEM.resourceData, id } })
      expect(fact.subject).toBeUndefined()
      expect(JSON.stringify(fact.data).isWellFormed()).toBe(true)
      expect(JSON.stringify(fact.data)).not.toContain('\u0000')
    }
  })

  it.each([
    ['no JSON', 'nope', 'bad_json'],
    ['broken UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), 'bad_utf8'],
    ['an empty body', '', 'bad_json'],
    ['no list', '{"value":{}}', 'bad_body'],
    ['a bare list', '[]', 'bad_body'],
    ['an inherited list', '{"__proto__":{"value":[]}}', 'refused_key'],
    ['too many items', JSON.stringify({ value: Array(1001).fill(0) }), 'too_many_items'],
  ])('WI-10 answers 400 to %s on a genuine ref', async (_name, body, reason) => {
    const verdict = await webhook.judge(notification({ ref: 'ref-sub_a', body: Buffer.from(body) }), LOOKUP)
    expect(verdict).toEqual({ kind: 'rejected', status: 400, reason })
  })

  it('asks once for each distinct clientState of a notification', async () => {
    let asked = 0
    const lookup: Lookup = {
      ...LOOKUP,
      byChannelSecret: (presented) => {
        asked += 1
        return LOOKUP.byChannelSecret(presented)
      },
    }
    await webhook.judge(graph(Array(1000).fill(ITEM)), lookup)
    expect(asked).toBe(1)
  })
})

describe('the validation handshake', () => {
  const handshake = (token: string, more: Partial<NotificationRequest> = {}) =>
    webhook.judge(notification({ ref: 'ref-sub_a', query: [['validationToken', token]], ...more }), LOOKUP)

  it('WI-05 answers a legal token exactly, decoded, with no lookup I/O', async () => {
    const noDatabase: Lookup = {
      ...LOOKUP,
      byChannelSecret: () => Promise.reject(new Error('database away')),
      byAddress: () => Promise.reject(new Error('database away')),
    }
    const query = [
      ...new URLSearchParams(
        'validationToken=Validation%3a+Testing+client+application+reachability+for+subscription+Request-Id%3a+5731e5c5-096b-867f-5fd1-b1fc2e93c359',
      ),
    ]
    const verdict = await webhook.judge(notification({ ref: 'ref-sub_a', query }), noDatabase)
    expect(verdict).toEqual({
      kind: 'handshake',
      body: 'Validation: Testing client application reachability for subscription Request-Id: 5731e5c5-096b-867f-5fd1-b1fc2e93c359',
    })
  })

  const printable = Array.from({ length: 95 }, (_, index) => String.fromCharCode(0x20 + index)).filter(
    (letter) => !'<>'.includes(letter),
  )
  const legal = [
    ...printable,
    printable.join(''),
    'x'.repeat(2048),
    '{"a":1}',
    'javascript:alert(1)',
    '&lt;script&gt;',
  ]
  const markup = [
    '<script>alert(1)</script>',
    '<img src=x onerror=alert(1)>',
    '</body>',
    '<!--',
    'a<b',
    'a>b',
    '<',
    '>',
    '<svg/onload=1>',
    ']]>',
  ]
  const control = Array.from({ length: 32 }, (_, code) => `a${String.fromCharCode(code)}b`)
  const beyond = Array.from({ length: 150 }, (_, index) => `token${String.fromCodePoint(0x7f + index * 37)}`)
  const hostile = [
    ...markup,
    ...control,
    ...beyond,
    '',
    'x'.repeat(2049),
    'x'.repeat(100_000),
    'a\r\nSet-Cookie: b=c',
    '\ud800',
    '＜script＞',
    '\u202Etoken',
  ]

  it(`WI-05 answers ${hostile.length} hostile tokens with 400 and no echo, ${legal.length} legal ones exactly`, async () => {
    expect(hostile.length).toBeGreaterThanOrEqual(190)
    for (const token of hostile) {
      expect(await handshake(token)).toEqual({
        kind: 'rejected',
        status: 400,
        reason: 'bad_validation_token',
      })
    }
    for (const token of legal) expect(await handshake(token)).toEqual({ kind: 'handshake', body: token })
  })

  it('WI-05 refuses two tokens, and a request that a browser would show', async () => {
    const twice = notification({
      ref: 'ref-sub_a',
      query: [
        ['validationToken', 'a'],
        ['validationToken', 'a'],
      ],
    })
    expect(await webhook.judge(twice, LOOKUP)).toMatchObject({ kind: 'rejected', status: 400 })
    expect(await handshake('a', { headers: { 'sec-fetch-mode': ['navigate'] } })).toMatchObject({
      kind: 'rejected',
      status: 400,
      reason: 'navigation',
    })
    expect(await handshake('a', { headers: { 'sec-fetch-mode': ['cors'] } })).toMatchObject({
      kind: 'handshake',
    })
  })

  it('WI-06 echoes nothing at an address that is not ours, or without any', async () => {
    for (const ref of ['ref-of-nobody', undefined])
      expect(await handshake('a', { ref })).toEqual({ kind: 'rejected', status: 404, reason: 'bad_ref' })
  })

  it('WI-05 echoes only to POST, and only the parameter of that exact name', async () => {
    expect(await handshake('a', { method: 'GET' })).toMatchObject({ kind: 'rejected', status: 405 })
    const query: [string, string][] = [['validationtoken', 'a']]
    expect(await webhook.judge(notification({ ref: 'ref-sub_a', query }), LOOKUP)).toMatchObject({
      kind: 'rejected',
    })
  })
})

describe('the relay form', () => {
  const body = Buffer.from('{"hello": "wörld",\n "n": 1.0}')
  const sign = (bytes: Buffer, secret = RELAY_SECRET) =>
    createHmac('sha256', secret).update(bytes).digest('hex')
  const relay = (
    signatures: string[],
    bytes: Buffer = body,
    more: Partial<NotificationRequest> = {},
  ): Promise<Verdict> =>
    webhook.judge(notification({ headers: { 'x-ms-signature': signatures }, body: bytes, ...more }), LOOKUP)

  it('WI-01 a signed relay is one event without a connection, answered {"status":"ok"}', async () => {
    expect(await relay([sign(body)])).toMatchObject({
      kind: 'verified',
      status: 200,
      answer: '{"status":"ok"}',
      facts: [
        {
          connectionId: undefined,
          type: 'relay.message.v1.received',
          data: { body: { hello: 'wörld', n: 1 }, encoding: 'json' },
        },
      ],
    })
  })

  it('WI-04 the same bytes have the same identity', async () => {
    const identityOf = async (bytes: Buffer) => {
      const verdict = await relay([sign(bytes)], bytes)
      return verdict.kind === 'verified' ? verdict.facts[0]?.identity : undefined
    }
    expect(await identityOf(body)).toBe(await identityOf(Buffer.from(body)))
    expect(await identityOf(Buffer.from('{}'))).not.toBe(await identityOf(body))
  })

  it('keeps a body that is no JSON as base64', async () => {
    const bytes = Buffer.from([0, 255, 1])
    expect(await relay([sign(bytes)], bytes)).toMatchObject({
      facts: [{ data: { body: 'AP8B', encoding: 'base64' } }],
    })
  })

  const good = sign(body)
  const changed = Buffer.from(body)
  changed[3] = (changed[3] ?? 0) ^ 1
  const mutations: [string, string[], Buffer][] = [
    ['an empty signature', [''], body],
    ['a wrong signature', ['0'.repeat(64)], body],
    ['one body byte changed', [good], changed],
    ['the JSON written again', [good], Buffer.from(JSON.stringify(JSON.parse(body.toString())))],
    ['another secret', [sign(body, `${RELAY_SECRET}x`)], body],
    ['the signature in capitals', [good.toUpperCase()], body],
    ['a space in front', [` ${good}`], body],
    ['a space behind', [`${good} `], body],
    ['a prefix', [`sha256=${good}`], body],
    ['a truncated signature', [good.slice(0, 62)], body],
    ['a lengthened signature', [`${good}00`], body],
    ['base64 instead of hex', [Buffer.from(good, 'hex').toString('base64')], body],
    ['the header twice', [good, good], body],
    ['a good one after a bad one', ['0'.repeat(64), good], body],
    ['two in one value', [`${good}, ${good}`], body],
    ['SHA-1', [createHmac('sha1', RELAY_SECRET).update(body).digest('hex')], body],
  ]
  it.each(mutations)('WI-01 a relay with %s is refused', async (_name, signatures, bytes) => {
    const status = signatures.length > 1 ? 400 : 401
    expect(await relay(signatures, bytes)).toMatchObject({ kind: 'rejected', status })
  })

  it('WI-11 a duplicated signature is counted as such', async () => {
    expect(await relay([good, good])).toEqual({
      kind: 'rejected',
      status: 400,
      reason: 'duplicate_signature',
    })
  })

  it('WI-01 the header alone decides, also on a genuine ref and beside a handshake', async () => {
    const items = Buffer.from(JSON.stringify({ value: [ITEM] }))
    expect(await relay(['0'.repeat(64)], items, { ref: 'ref-sub_a' })).toMatchObject({
      kind: 'rejected',
      status: 401,
    })
    expect(
      await relay(['0'.repeat(64)], items, { ref: 'ref-sub_a', query: [['validationToken', 'a']] }),
    ).toMatchObject({ kind: 'rejected', status: 401 })
  })

  it('WI-01 without its secret the relay is off, also for the signature under an empty key', async () => {
    const off = openWith(microsoft, { ...ENVIRONMENT, MICROSOFT_WEBHOOK_SECRET: undefined }, startClock())
    const request = notification({ headers: { 'x-ms-signature': [sign(body, '')] }, body })
    expect(await off.webhook.judge(request, LOOKUP)).toEqual({
      kind: 'rejected',
      status: 401,
      reason: 'relay_off',
    })
  })
})
