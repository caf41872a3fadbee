/**
 * Pub/Sub's authenticated push of Gmail notifications (protocols/google.md §2): the wrapped envelope with both
 * spellings, a bearer JWT of the service account, repeated until acknowledged. Forged ones are sent once.
 */
import { randomInt } from 'node:crypto'
import { spoiltBy } from '../keys.ts'
import type { Parcel } from '../postman.ts'
import { type GoogleWorld, historyOf } from './world.ts'

export const googleForgeries = [
  'audience',
  'email',
  'unverified',
  'expired',
  'issuer',
  'key',
  'kid',
  'algNone',
  'HS256',
  'noHeader',
  'subscription',
] as const
export type GoogleForgery = (typeof googleForgeries)[number]

const acknowledging = [102, 200, 201, 202, 204]
const ackDeadlineMs = 10_000
/** Google reuses one token for many messages for a while. */
const tokenReuseMs = 600_000

/** The envelope's body for the mailbox as it is now. */
export function mailEnvelope(world: GoogleWorld, account: string, forge: GoogleForgery | null): string {
  const { current } = historyOf(world, account)
  const historyId = world.faults.historyIdAs === 'string' ? `"${current}"` : `${current}`
  // Written by hand: a uint64 does not fit into a JavaScript number.
  const data = `{"emailAddress":${JSON.stringify(account)},"historyId":${historyId}}`
  const messageId = `${world.now()}${randomInt(1_000, 10_000)}${randomInt(1_000, 10_000)}`
  const publishTime = new Date(world.now()).toISOString()
  const message = {
    data: Buffer.from(data).toString('base64'),
    messageId,
    message_id: messageId,
    publishTime,
    publish_time: publishTime,
  }
  const { subscription } = world.options.pubsub
  return JSON.stringify({
    message,
    subscription: forge === 'subscription' ? `${subscription}-forged` : subscription,
  })
}

export interface PushTokens {
  current(): Promise<string>
  forged(forge: GoogleForgery): Promise<string>
}

export function createPushTokens(world: GoogleWorld): PushTokens {
  let cached: { token: string; signedAt: number; kid: string } | null = null
  return {
    async current() {
      const kid = world.keys.published()[0]?.kid ?? ''
      if (cached === null || cached.kid !== kid || Math.abs(world.now() - cached.signedAt) > tokenReuseMs) {
        cached = { token: await signPushToken(world, null), signedAt: world.now(), kid }
      }
      return cached.token
    },
    forged: (forge) => signPushToken(world, forge),
  }
}

export function pushParcel(
  world: GoogleWorld,
  tokens: PushTokens,
  body: string,
  forge: GoogleForgery | null,
): Parcel {
  return {
    url: world.options.pubsub.pushUrl,
    body,
    async headers() {
      const headers = {
        'content-type': 'application/json',
        'user-agent': 'APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)',
        from: 'noreply@google.com',
      }
      if (forge === 'noHeader') return headers
      const token = forge === null ? await tokens.current() : await tokens.forged(forge)
      return { ...headers, authorization: `Bearer ${token}` }
    },
    timeoutMs: () => ackDeadlineMs,
    acknowledges: (status) => acknowledging.includes(status),
    repeats: () => forge === null,
  }
}

async function signPushToken(world: GoogleWorld, forge: GoogleForgery | null): Promise<string> {
  const { audience, serviceAccount } = world.options.pubsub
  const seconds = Math.floor(world.now() / 1000) - (forge === 'expired' ? 7_200 : 0)
  const claims = {
    aud: forge === 'audience' ? 'https://other.invalid/push' : audience,
    azp: '113774264463038321964',
    email: forge === 'email' ? 'intruder@other-project.iam.gserviceaccount.com' : serviceAccount,
    email_verified: forge !== 'unverified',
    exp: seconds + 3600,
    iat: seconds,
    iss: forge === 'issuer' ? 'https://issuer.invalid' : world.origin,
    sub: '113774264463038321964',
  }
  const token = await world.keys.sign(claims, null, spoiltBy(forge))
  world.issuer.note('google', 'pubsub_token', token)
  return token
}
