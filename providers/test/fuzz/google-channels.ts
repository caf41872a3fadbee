/** The verifier of Drive's and Calendar's channels for the fuzz test: unsigned, empty, proven by ref and token. */
import { google } from '../../src/google/index.ts'
import type { KnownSubscription, Lookup, NotificationRequest } from '../../src/provider.ts'
import { openWith } from '../conformance.ts'
import { startGoogle } from '../google/world.ts'
import { NOTHING_KNOWN, notification, startClock } from '../loopback.ts'
import type { Verifier } from './verifier.ts'

const known = (name: string, resource: string, told = true): KnownSubscription => ({
  id: `sub_${name}`,
  connectionId: `con_${name}`,
  resource,
  providerSubscriptionId: told ? `channel-${name}/resource-${name}` : undefined,
  accountKey: name,
  tenant: undefined,
})
const KNOWN = [
  known('a', 'drive/v3/changes'),
  known('b', 'calendar/v3/users/me/calendarList'),
  known('young', 'drive/v3/changes', false),
]
const TOKENS = new Map(KNOWN.map((subscription) => [`Token/of-${subscription.id}`, subscription]))
/** Made by us, and nobody has it any more. */
const ORPHAN = 'Token/of-sub_gone'
const REFS = new Map([...KNOWN.map(({ id }) => id), 'sub_gone'].map((id) => [`ref-of-${id}`, id]))
const LOOKUP: Lookup = {
  ...NOTHING_KNOWN,
  genuineRef: (ref) => REFS.get(ref),
  genuineChannelSecret: (presented) => presented === ORPHAN || TOKENS.has(presented),
  byChannelSecret: async (presented) => TOKENS.get(presented),
}

const GENUINE = ['a', 'b', 'young', 'gone'].map((name) =>
  notification({
    ref: `ref-of-sub_${name}`,
    headers: {
      'x-goog-channel-token': [`Token/of-sub_${name}`],
      'x-goog-channel-id': [`channel-${name}`],
      'x-goog-resource-id': [`resource-${name}`],
      'x-goog-resource-state': ['change'],
      'x-goog-message-number': ['17'],
    },
  }),
)

export async function googleChannels(): Promise<Verifier> {
  const clock = startClock()
  const world = await startGoogle(clock)
  const { webhook } = openWith(google, world.environment, clock)
  return {
    name: 'Google channels',
    strangers: {
      values: ['"Token/of-sub_a"'],
      refs: [...REFS.keys(), 'sub_a', 'ref-of-nobody'],
      headerValues: [...TOKENS.keys(), ORPHAN, 'channel-a', 'resource-a', 'channel-b', 'resource-b', 'sync'],
    },
    make({ pick, forged }) {
      const request = GENUINE[pick % GENUINE.length] ?? notification()
      return forged
        ? { ...request, headers: { ...request.headers, 'x-goog-channel-token': ['of nobody'] } }
        : request
    },
    judge: (request) => webhook.judge(request, LOOKUP),
    mayBelieve,
    close: () => world.close(),
  }
}

function mayBelieve(request: NotificationRequest): readonly string[] | undefined {
  const only = (name: string) => {
    const values = Object.hasOwn(request.headers, name) ? (request.headers[name] ?? []) : []
    return values.length === 1 ? values[0] : undefined
  }
  const [token, channel, resource, state] = [
    'channel-token',
    'channel-id',
    'resource-id',
    'resource-state',
  ].map((name) => only(`x-goog-${name}`))
  const refOwner = REFS.get(request.ref ?? '')
  if (request.method !== 'POST' || refOwner === undefined || token === undefined) return undefined
  if (!channel || !resource || !state) return undefined
  if (token === ORPHAN) return [`orphan ${refOwner} ${channel}/${resource}`]
  const owner = TOKENS.get(token)
  if (owner?.id !== refOwner) return undefined
  if ((owner.providerSubscriptionId ?? `${channel}/${resource}`) !== `${channel}/${resource}`)
    return undefined
  return state === 'sync' ? [] : [`fact of ${owner.connectionId} ${owner.id}`]
}
