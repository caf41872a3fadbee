/** Plays Google's token endpoint, keys and Gmail on loopback, from protocols/google.md; used by the Google tests. */
import { CANARIES, type IdTokenChange, type ProviderWorld } from '../conformance.ts'
import { type Loopback, makeSigner, type Signer, startLoopback, type TestClock } from '../loopback.ts'

export const AUDIENCE = 'https://hooks.example/webhook/events/google'
export const SERVICE_ACCOUNT = 'push@project.iam.gserviceaccount.com'
export const SUBSCRIPTION = 'projects/p/subscriptions/gmail'
export const TOPIC = 'projects/p/topics/gmail'

export interface GoogleWorld extends ProviderWorld {
  readonly server: Loopback
  readonly signer: Signer
}

export async function startGoogle(clock: TestClock): Promise<GoogleWorld> {
  const server = await startLoopback()
  const signer = await makeSigner('k1')
  server.reply('/oauth2/v3/certs', { status: 200, body: { keys: [signer.jwk] } })
  return {
    server,
    signer,
    environment: {
      GOOGLE_CLIENT_ID: 'client-1',
      GOOGLE_CLIENT_SECRET: CANARIES.secret,
      GOOGLE_ACCOUNTS_URL: server.url,
      GOOGLE_TOKEN_URL: server.url,
      GOOGLE_API_URL: server.url,
      GMAIL_API_URL: server.url,
      GOOGLE_PUBSUB_AUDIENCE: AUDIENCE,
      GOOGLE_PUBSUB_SERVICE_ACCOUNT: SERVICE_ACCOUNT,
      GOOGLE_PUBSUB_SUBSCRIPTION: SUBSCRIPTION,
      GOOGLE_PUBSUB_TOPIC: TOPIC,
      GOOGLE_WEBHOOK_SECRET: 'a channel secret of at least 32 bytes, made for tests',
    },
    replyToken: (...replies) => server.reply('/token', ...replies),
    tokenRequests: () => server.requestsTo('/token'),
    async tokenAnswer(nonce: string, change: IdTokenChange = {}) {
      const now = Math.floor(clock.now.getTime() / 1000)
      const token = await signer.sign(
        {
          iss: server.url,
          azp: 'client-1',
          aud: 'client-1',
          sub: '110169484474386276334',
          email: 'User@Gmail.com',
          email_verified: true,
          iat: now,
          exp: now + 3599,
          nonce,
          ...change.claims,
        },
        change.header,
      )
      return {
        status: 200,
        body: {
          access_token: CANARIES.access,
          expires_in: 3599,
          refresh_token: CANARIES.refresh,
          scope:
            'https://www.googleapis.com/auth/calendar https://www.googleapis.com/auth/userinfo.email openid https://www.googleapis.com/auth/userinfo.profile',
          token_type: 'Bearer',
          id_token: change.token === undefined ? token : change.token(token),
          ...change.body,
        },
      }
    },
    close: () => server.close(),
  }
}
