/**
 * Google's side of Gmail's pushes as far as a sender needs it: keys served over HTTP, a bearer token for the time it is
 * told, the wrapped envelope, and accounts put into the database as if they were connected and watched.
 */
import { createSign, generateKeyPairSync, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import pg from 'pg'
import { newId } from '../../auth/src/platform/ids.ts'

export const GOOGLE_PUSH = {
  path: '/webhook/events/google',
  audience: 'https://webhooks.example/push',
  serviceAccount: 'push@project.iam.gserviceaccount.com',
  subscription: 'projects/p/subscriptions/gmail',
}

export type Beside = (client: pg.Client, connectionId: string) => Promise<void>

export interface PushSender {
  /** Settings of Auth. */
  readonly environment: Readonly<Record<string, string>>
  /**
   * @param scopes last parts of the names of what was granted
   * @param beside writes what else the connection has, in the same transaction: what is connected and not subscribed is
   * subscribed by the service
   * @returns the connection's id
   */
  seed(mailbox: string, ownerId: string, scopes?: readonly string[], beside?: Beside): Promise<string>
  /** From now on tokens are made at the time that is so far ahead, in milliseconds. */
  follow(aheadMs: number): void
  bearer(): string
  /** Another one each time, so that nobody can have verified it before. @param kid the name that it gives its key */
  freshBearer(kid?: string): string
  /** From now on the keys cannot be had, or again. */
  keysAreAway(away: boolean): void
  /** Signs with another key from now on; the earlier one is given out no more. @returns its name */
  rotate(): string
  /** How often the keys were asked for. */
  asked(): number
  body(mailbox: string, n: number): string
  /** @returns the `n` of an event's data, -1 for none */
  numberIn(text: string): number
  close(): Promise<void>
}

export async function startPushSender(databaseUrl: string): Promise<PushSender> {
  let key = newKey('k1')
  let away = false
  let asked = 0
  const server = createServer((_request, response) => {
    asked += 1
    const body = JSON.stringify({ keys: [key.jwk] })
    response.writeHead(away ? 500 : 200, { 'content-type': 'application/json' }).end(away ? '{}' : body)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  let aheadMs = 0
  const sign = (kid: string, jti?: string) => {
    const iat = Math.floor((Date.now() + aheadMs) / 1000)
    const { audience: aud, serviceAccount: email } = GOOGLE_PUSH
    const claims = { iss: origin, aud, email, email_verified: true, sub: '1', iat, exp: iat + 3600, jti }
    const text = [{ alg: 'RS256', kid, typ: 'JWT' }, claims]
      .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
      .join('.')
    return `Bearer ${text}.${createSign('RSA-SHA256').update(text).sign(key.privateKey, 'base64url')}`
  }
  let bearer = sign(key.kid)
  return {
    environment: {
      GOOGLE_CLIENT_ID: 'client-of-google',
      GOOGLE_CLIENT_SECRET: 'secret-of-google',
      GOOGLE_ACCOUNTS_URL: origin,
      GOOGLE_TOKEN_URL: origin,
      GOOGLE_API_URL: origin,
      GMAIL_API_URL: origin,
      GOOGLE_PUBSUB_AUDIENCE: GOOGLE_PUSH.audience,
      GOOGLE_PUBSUB_SERVICE_ACCOUNT: GOOGLE_PUSH.serviceAccount,
      GOOGLE_PUBSUB_SUBSCRIPTION: GOOGLE_PUSH.subscription,
      GOOGLE_PUBSUB_TOPIC: 'projects/p/topics/gmail',
    },
    seed: (mailbox, ownerId, scopes = ['gmail.readonly'], beside = async () => {}) =>
      seedMailbox(databaseUrl, mailbox, ownerId, scopes, beside),
    follow(ms) {
      aheadMs = ms
      bearer = sign(key.kid)
    },
    bearer: () => bearer,
    freshBearer: (kid = key.kid) => sign(kid, randomUUID()),
    keysAreAway(isSo) {
      away = isSo
    },
    rotate() {
      key = newKey(`k${randomUUID()}`)
      return key.kid
    },
    asked: () => asked,
    body(mailbox, n) {
      const data = JSON.stringify({ emailAddress: mailbox, historyId: n })
      const message = { data: Buffer.from(data).toString('base64'), messageId: `${n}`, message_id: `${n}` }
      return JSON.stringify({ message, subscription: GOOGLE_PUSH.subscription })
    },
    numberIn: (text) => Number(/"historyId":"(\d+)"/.exec(text)?.[1] ?? -1),
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function newKey(kid: string) {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  return { kid, privateKey, jwk: { ...publicKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'RS256' } }
}

async function seedMailbox(
  databaseUrl: string,
  mailbox: string,
  ownerId: string,
  scopes: readonly string[],
  beside: Beside,
): Promise<string> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  try {
    const connectionId = newId('con')
    const scope = scopes.map((name) => `https://www.googleapis.com/auth/${name}`).join(' ')
    await client.query('begin')
    await client.query(
      `insert into auth.oauth_tokens (id, user_id, owner_id, provider, account_key, account_label, account_address, scope, status)
       values ($1, $2, $3, 'google', $4, $5, $5, $6, 'active')`,
      [connectionId, ownerId, ownerId, `key of ${mailbox}`, mailbox, scope],
    )
    await client.query(
      `insert into auth.subscriptions (id, connection_id, provider, kind, resource, state, provider_subscription_id, expires_at)
       values ($1, $2, 'google', 'mail', 'gmail', 'active', $3, now() + interval '6 days')`,
      [newId('sub'), connectionId, mailbox],
    )
    await beside(client, connectionId)
    await client.query('commit')
    return connectionId
  } finally {
    await client.end()
  }
}
