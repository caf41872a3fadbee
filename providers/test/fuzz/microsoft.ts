/** The verifiers of Microsoft's folder for the fuzz test: Graph's notifications and handshake, and the relay. */
import { createHmac } from 'node:crypto'
import { microsoft } from '../../src/microsoft/index.ts'
import type { KnownSubscription, Lookup, NotificationRequest } from '../../src/provider.ts'
import { openWith } from '../conformance.ts'
import { NOTHING_KNOWN, notification, startClock } from '../loopback.ts'
import { RELAY_SECRET, TENANT_A, TENANT_B } from '../microsoft/world.ts'
import { lenientJson, own, type Verifier } from './verifier.ts'

const known = (name: string, tenant: string, told = true): KnownSubscription => ({
  id: `sub_${name}`,
  connectionId: `con_${name}`,
  resource: 'me/messages',
  providerSubscriptionId: told ? `graph-${name}` : undefined,
  accountKey: `${tenant}:o`,
  tenant,
})
/** The last one's create call is not yet answered. */
const KNOWN = [known('a', TENANT_A), known('b', TENANT_B), known('young', TENANT_A, false)]
const REFS = new Map(KNOWN.map(({ id }) => [`ref-of-${id}`, id]))
const STATES = new Map(KNOWN.map((subscription) => [`State/of-${subscription.id}`, subscription]))
const LOOKUP: Lookup = {
  ...NOTHING_KNOWN,
  genuineRef: (ref) => REFS.get(ref),
  byChannelSecret: async (presented) => STATES.get(presented),
}

const STRANGERS = {
  values: [
    'State/of-sub_a',
    'State/of-sub_b',
    'graph-a',
    'graph-b',
    'sub_a',
    TENANT_A,
    TENANT_B,
    'missed',
    'deleted',
  ].map((text) => JSON.stringify(text)),
  refs: [...REFS.keys(), 'ref-of-sub_c', 'sub_a'],
  headerValues: [
    hmac(Buffer.from('another body')),
    hmac(Buffer.alloc(0)),
    hmac(Buffer.alloc(0)).toUpperCase(),
  ],
}

function hmac(bytes: Buffer, secret = RELAY_SECRET): string {
  return createHmac('sha256', secret).update(bytes).digest('hex')
}

function item(name: string, tenant: string, more: object = {}) {
  return {
    subscriptionId: `graph-${name}`,
    subscriptionExpirationDateTime: '2026-09-19T22:11:09.952Z',
    clientState: `State/of-sub_${name}`,
    changeType: 'created',
    resource: 'users/u/messages/AAMkAD_xyz=',
    tenantId: tenant,
    resourceData: { '@odata.type': '#Microsoft.Graph.Message', '@odata.etag': 'W/"CQ"', id: 'AAMkAD_xyz=' },
    ...more,
  }
}

const jsonBody = (value: unknown) => Buffer.from(JSON.stringify(value))
const GRAPH = [
  [item('a', TENANT_A)],
  [item('a', TENANT_A), item('b', TENANT_B, { changeType: 'updated' }), item('b', TENANT_B, { id: 'lsg' })],
  [item('a', TENANT_A, { changeType: undefined, resourceData: undefined, lifecycleEvent: 'missed' })],
  [item('b', TENANT_B, { tenantId: undefined, organizationId: TENANT_B.toUpperCase() })],
]
const GENUINE = [
  ...GRAPH.map((value) => notification({ ref: 'ref-of-sub_a', body: jsonBody({ value }) })),
  notification({ ref: 'ref-of-sub_young', body: jsonBody({ value: [item('young', TENANT_A)] }) }),
  notification({ ref: 'ref-of-sub_b', query: [['validationToken', 'Validation: of 5731e5c5&x']] }),
]
const RELAYED = ['{"hello":"wörld","n":1.0,"list":[1,{"a":null}]}', '[]', '', 'no JSON at all'].map((text) =>
  notification({ headers: { 'x-ms-signature': [hmac(Buffer.from(text))] }, body: Buffer.from(text) }),
)

export async function graphNotifications(): Promise<Verifier> {
  return verifierOf('Graph notifications', GENUINE)
}

export async function relay(): Promise<Verifier> {
  return verifierOf('relay', RELAYED)
}

function verifierOf(name: string, genuine: readonly NotificationRequest[]): Verifier {
  const environment = {
    MICROSOFT_CLIENT_ID: 'client-1',
    MICROSOFT_CLIENT_SECRET: 's',
    MICROSOFT_WEBHOOK_SECRET: RELAY_SECRET,
  }
  const { webhook } = openWith(microsoft, environment, startClock())
  return {
    name,
    strangers: STRANGERS,
    make: ({ pick, forged }) => {
      const request = genuine[pick % genuine.length] ?? notification()
      if (!forged) return request
      const headers = Object.hasOwn(request.headers, 'x-ms-signature')
        ? { 'x-ms-signature': [hmac(request.body, 'the secret of somebody else')] }
        : request.headers
      const body = request.body.toString().replaceAll('State/of-sub_', 'State/of-nobody_')
      return {
        ...request,
        headers,
        body: Buffer.from(body),
        ref: request.query.length > 0 ? 'forged' : request.ref,
      }
    },
    judge: (request) => webhook.judge(request, LOOKUP),
    mayBelieve,
    close: () => Promise.resolve(),
  }
}

function mayBelieve(request: NotificationRequest): readonly string[] | undefined {
  if (request.method !== 'POST') return undefined
  const signatures = Object.hasOwn(request.headers, 'x-ms-signature')
    ? (request.headers['x-ms-signature'] ?? [])
    : []
  if (signatures.length > 0) {
    const genuine = signatures.length === 1 && signatures[0] === hmac(request.body)
    return genuine ? ['fact of undefined undefined'] : undefined
  }
  const refOwner = REFS.get(request.ref ?? '')
  if (refOwner === undefined) return undefined
  const tokens = request.query.filter(([name]) => name === 'validationToken').map(([, value]) => value)
  if (tokens.length > 0) {
    const token = tokens[0] ?? ''
    const shown = request.headers['sec-fetch-mode']?.includes('navigate') ?? false
    return tokens.length === 1 && !shown && /^[ -~]+$/.test(token) && !/[<>]/.test(token)
      ? [`handshake ${token}`]
      : undefined
  }
  const items = own(lenientJson(request.body), 'value')
  const proven = Array.isArray(items) ? items.flatMap((one) => provenBy(one, refOwner)) : []
  return proven.length === 0 ? undefined : proven
}

function provenBy(one: unknown, refOwner: string): string[] {
  const owner = STATES.get(String(own(one, 'clientState')))
  if (owner === undefined || typeof own(one, 'clientState') !== 'string') return []
  const named = own(one, 'subscriptionId')
  if (typeof named !== 'string' || named === '') return []
  const wanted = owner.providerSubscriptionId
  if (wanted === undefined ? owner.id !== refOwner : named.toLowerCase() !== wanted.toLowerCase()) return []
  for (const tenant of [own(one, 'tenantId'), own(one, 'organizationId')]) {
    if (tenant === undefined || tenant === null) continue
    if (typeof tenant !== 'string' || tenant.toLowerCase() !== owner.tenant?.toLowerCase()) return []
  }
  return [`fact of ${owner.connectionId} ${owner.id}`]
}
