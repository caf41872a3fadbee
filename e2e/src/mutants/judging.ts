/** Guards of judging what arrives, each taken away, and the tests that must turn red then (RE-16). */
import type { Mutant } from './mutant.ts'

const judging = (file: string) => `providers/src/${file}`
const GRAPH = ['providers/test/microsoft/webhook.test.ts']
const CONTENT = ['providers/test/microsoft/resource-data.test.ts']
const GMAIL = ['providers/test/google/webhook.test.ts']
const JSON_READING = ['providers/test/webhook/hostile-json.test.ts']
const CHANNEL = ['providers/test/google/channel.test.ts']

export const JUDGING: readonly Mutant[] = [
  {
    name: 'any signature is right',
    file: judging('webhook/hmac.ts'),
    from: `return timingSafeEqual(createHmac('sha256', bytesOfKey).update(bytes).digest(), digest)`,
    to: 'return bytesOfKey.length > 0 && bytes.length >= 0',
    tests: ['providers/test/webhook/hmac.test.ts'],
  },
  {
    name: 'a signature has several spellings',
    file: judging('webhook/hmac.ts'),
    from: 'if (digest.toString(encoding) !== presented) return false',
    to: '',
    tests: ['providers/test/webhook/hmac.test.ts'],
  },
  {
    name: 'a relay is believed unsigned',
    file: judging('webhook/relay.ts'),
    from: 'if (!secrets.some(',
    to: 'if (false && !secrets.some(',
    tests: GRAPH,
  },
  {
    name: 'of two signatures the first counts',
    file: judging('webhook/headers.ts'),
    from: 'return others.length > 0 ?',
    to: 'return others.length < 0 ?',
    tests: GRAPH,
  },
  {
    name: 'Graph may write to any address',
    file: judging('microsoft/webhook.ts'),
    from: `if (refSubscriptionId === undefined) return rejected(404, 'bad_ref')
      return judgeNotification(request, lookup, refSubscriptionId, vouchersOf)`,
    to: `return judgeNotification(request, lookup, refSubscriptionId ?? '', vouchersOf)`,
    tests: GRAPH,
  },
  {
    name: 'an item of any subscription is believed',
    file: judging('microsoft/webhook.ts'),
    from: `if (!isOurs || subscriptionId === '')`,
    to: `if (isOurs === undefined)`,
    tests: GRAPH,
  },
  {
    name: 'an item of any tenant is believed',
    file: judging('microsoft/webhook.ts'),
    from: 'if (!isOfTenant(item, owner.tenant))',
    to: 'if (isOfTenant(item, owner.tenant) === undefined)',
    tests: GRAPH,
  },
  {
    name: 'what cannot be judged now is left out',
    file: judging('microsoft/webhook.ts'),
    from: `if (outcome.kind === 'unavailable') return outcome`,
    to: `if (outcome.kind === 'unavailable') continue`,
    tests: CONTENT,
  },
  {
    name: 'a handshake is answered at any address',
    file: judging('webhook/handshake.ts'),
    from: 'if (request.ref === undefined || lookup.genuineRef(request.ref) === undefined)',
    to: 'if (lookup === undefined)',
    tests: GRAPH,
  },
  {
    name: 'a handshake is answered to a page',
    file: judging('webhook/handshake.ts'),
    from: `if (request.headers['sec-fetch-mode']?.includes('navigate'))`,
    to: 'if (request === undefined)',
    tests: GRAPH,
  },
  {
    name: 'content is opened without its HMAC',
    file: judging('microsoft/resource-data/encrypted-content.ts'),
    from: `if (!isHmacSha256(key, data, signature, 'base64'))`,
    to: `if (isHmacSha256(key, data, signature, 'base64') === undefined)`,
    tests: ['providers/test/microsoft/encrypted-content.test.ts'],
  },
  {
    name: 'content is believed without a token',
    file: judging('microsoft/resource-data/content-of-item.ts'),
    from: `if (vouching.kind !== 'vouched') return vouching`,
    to: `if (vouching.kind === 'unavailable') return vouching`,
    tests: CONTENT,
  },
  {
    name: 'one tenant’s token vouches for all',
    file: judging('microsoft/resource-data/validation-tokens.ts'),
    from: `verdict.kind === 'genuine' && verdict.tenant === wanted`,
    to: `verdict.kind === 'genuine' && wanted !== ''`,
    tests: CONTENT,
  },
  {
    name: 'a token for another app vouches',
    file: judging('microsoft/resource-data/validation-tokens.ts'),
    from: 'if (aud !== clientId)',
    to: 'if (aud === undefined)',
    tests: CONTENT,
  },
  {
    name: 'a token of any publisher vouches',
    file: judging('microsoft/resource-data/validation-tokens.ts'),
    from: 'if (publishers.length === 0 || !publishers.every((said) => said === PUBLISHER))',
    to: 'if (publishers.length > 9)',
    tests: CONTENT,
  },
  {
    name: 'a token of any issuer vouches',
    file: judging('microsoft/resource-data/validation-tokens.ts'),
    from: 'if (!issuers.includes(iss) || !mayIssue)',
    to: 'if (mayIssue === undefined)',
    tests: CONTENT,
  },
  {
    name: 'a token never expires',
    file: judging('oauth/signed-token.ts'),
    from: 'currentDate: now,',
    to: 'currentDate: new Date(0),',
    tests: GMAIL,
  },
  {
    name: 'any service account may push',
    file: judging('google/webhook.ts'),
    from: `typeof claims.email !== 'string' || !push.serviceAccounts.includes(claims.email)`,
    to: `typeof claims.email !== 'string'`,
    tests: GMAIL,
  },
  {
    name: 'a push for any audience is ours',
    file: judging('google/webhook.ts'),
    from: `typeof claims.aud !== 'string' || !push.audiences.includes(claims.aud)`,
    to: `typeof claims.aud !== 'string'`,
    tests: GMAIL,
  },
  {
    name: 'a push of any Pub/Sub subscription is ours',
    file: judging('google/webhook.ts'),
    from: 'if (!push.subscriptions.includes(subscription))',
    to: 'if (push.subscriptions === undefined)',
    tests: GMAIL,
  },
  {
    name: 'a failed token is remembered as genuine',
    file: judging('webhook/bearer.ts'),
    from: `if (objection !== undefined) return { kind: 'rejected', reason: objection }
    remember(`,
    to: `remember(`,
    tests: GMAIL,
  },
  {
    name: 'a channel needs no token',
    file: judging('google/webhook.ts'),
    from: `if (!lookup.genuineChannelSecret(token.value)) return rejected(401, 'bad_channel_token')`,
    to: '',
    tests: CHANNEL,
  },
  {
    name: 'one channel’s token is good at another’s address',
    file: judging('google/webhook.ts'),
    from: `if (owner.id !== subscriptionId) return rejected(401, 'wrong_subscription')`,
    to: '',
    tests: CHANNEL,
  },
  {
    name: 'a channel may have any id',
    file: judging('google/webhook.ts'),
    from: 'if (owner.providerSubscriptionId !== undefined && owner.providerSubscriptionId !== providerSubscriptionId)',
    to: 'if (owner.providerSubscriptionId === providerSubscriptionId && providerSubscriptionId === undefined)',
    tests: CHANNEL,
  },
  {
    name: 'keys are forgotten when they cannot be fetched',
    file: judging('oauth/keys.ts'),
    from: 'if (fetched === undefined) return',
    to: 'if (fetched === undefined) keys = new Map()\n      if (fetched === undefined) return',
    tests: ['providers/test/oauth/keys.test.ts'],
  },
  {
    name: 'a flood of invented keys asks for each',
    file: judging('oauth/keys.ts'),
    from: 'const REFETCH_PAUSE_MS = 30 * 1000',
    to: 'const REFETCH_PAUSE_MS = 0',
    tests: ['providers/test/oauth/keys.test.ts'],
  },
  {
    name: 'JSON may be as deep as it likes',
    file: judging('webhook/hostile-json.ts'),
    from: `if (levels.length === DEPTH_LIMIT) return 'too_deep'`,
    to: '',
    tests: JSON_READING,
  },
  {
    name: 'JSON may name a prototype',
    file: judging('webhook/hostile-json.ts'),
    from: 'if (REFUSED_KEYS.has(key) || !key.isWellFormed())',
    to: 'if (!key.isWellFormed())',
    tests: JSON_READING,
  },
  {
    name: 'of two equal keys the last counts',
    file: judging('webhook/hostile-json.ts'),
    from: `if (seen.has(key)) return 'duplicate_key'`,
    to: '',
    tests: JSON_READING,
  },
]
