/** The table of lifecycle events (protocols/microsoft.md §2.5), row by row, in the documented form and in the one seen in the field. */
import { describe, expect, it } from 'vitest'
import { microsoft } from '../../src/microsoft/index.ts'
import type { KnownSubscription, Lookup } from '../../src/provider.ts'
import { openWith } from '../conformance.ts'
import { NOTHING_KNOWN, notification, startClock } from '../loopback.ts'
import { TENANT_A, TENANT_B } from './world.ts'

const ENVIRONMENT = { MICROSOFT_CLIENT_ID: 'client-1', MICROSOFT_CLIENT_SECRET: 's' }
const { webhook } = openWith(microsoft, ENVIRONMENT, startClock())

const known = (resource: string): KnownSubscription => ({
  id: 'sub_a',
  connectionId: 'con_a',
  resource,
  providerSubscriptionId: 'graph-a',
  accountKey: `${TENANT_A}:o`,
  tenant: TENANT_A,
})
const lookup = (resource: string): Lookup => ({
  ...NOTHING_KNOWN,
  genuineRef: (ref) => (ref === 'ref-sub_a' ? 'sub_a' : undefined),
  genuineChannelSecret: (presented) => presented === 'state-sub_a',
  byChannelSecret: async (presented) => (presented === 'state-sub_a' ? known(resource) : undefined),
})
const judge = (items: readonly object[], resource = 'me/messages', more: object = {}) =>
  webhook.judge(
    notification({ ref: 'ref-sub_a', body: Buffer.from(JSON.stringify({ value: items, ...more })) }),
    lookup(resource),
  )

/** As documented. */
const documented = (lifecycleEvent: string) => ({
  subscriptionId: 'graph-a',
  subscriptionExpirationDateTime: '2026-09-20T11:00:00.0000000Z',
  tenantId: TENANT_A,
  clientState: 'state-sub_a',
  lifecycleEvent,
})
/** As seen in the field (microsoft-graph-docs #21675): no `tenantId`, and members of a change that say nothing. */
const seen = (lifecycleEvent: string) => ({
  lifecycleEvent,
  subscriptionId: 'graph-a',
  resource: 'me/messages',
  clientState: 'state-sub_a',
  sequence: null,
  resourceData: { '@odata.type': '#Microsoft.Graph.Message', id: '' },
  encryptedContent: null,
  organizationId: TENANT_A,
  subscriptionExpirationDateTime: '2026-09-20T16:30:00.9907405+05:30',
})

const ROWS = [
  ['reauthorizationRequired', 'subscription.v1.reauthorization_required'],
  ['subscriptionRemoved', 'subscription.v1.removed'],
  ['missed', 'subscription.v1.missed'],
] as const

describe.each(ROWS)('lifecycle event %s', (name, type) => {
  it.each([
    ['as documented', documented],
    ['as seen in the field', seen],
  ])('WI-16 %s is a fact about the subscription itself', async (_form, item) => {
    expect(await judge([item(name)], 'me/messages', { validationTokens: null })).toMatchObject({
      kind: 'verified',
      status: 202,
      rejected: [],
      facts: [
        {
          connectionId: 'con_a',
          subscriptionId: 'sub_a',
          type,
          originType: `Microsoft.Graph.${name}`,
          subject: 'subscriptions/sub_a',
          data: { lifecycleEvent: name },
        },
      ],
    })
  })

  it('WI-16 is believed for every resource, also in one request with changes', async () => {
    const change = {
      subscriptionId: 'graph-a',
      clientState: 'state-sub_a',
      changeType: 'updated',
      tenantId: TENANT_A,
      resource: 'x',
    }
    for (const resource of ['me/messages', 'me/events', 'me/drive/root']) {
      const verdict = await judge([change, documented(name)], resource)
      const types = verdict.kind === 'verified' ? verdict.facts.map((fact) => fact.type) : []
      expect(types).toEqual([expect.stringMatching(/\.v1\.notified$/), type])
    }
  })

  it.each([
    ['without its clientState', { clientState: undefined }],
    ['with a wrong clientState', { clientState: 'state-sub_b' }],
    ['of another tenant', { tenantId: TENANT_B }],
    ['of another subscription', { subscriptionId: 'graph-b' }],
    ['in another spelling', { lifecycleEvent: name.toUpperCase() }],
  ])('WI-01 %s it is dropped with 202', async (_what, more) => {
    expect(await judge([{ ...documented(name), ...more }])).toMatchObject({ kind: 'rejected', status: 202 })
  })

  it('that names a change as well, which is not documented, is heeded: what it says of the subscription must not be missed', async () => {
    const both = { ...documented(name), changeType: 'created' }
    expect(await judge([both])).toMatchObject({
      kind: 'verified',
      facts: [{ type: expect.stringMatching(/^subscription\.v1\./) }],
    })
  })
})
