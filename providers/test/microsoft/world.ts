/** Plays the identity platform and Graph on loopback, from protocols/microsoft.md; used by the Microsoft tests. */
import { CANARIES, type IdTokenChange, type ProviderWorld } from '../conformance.ts'
import { type Loopback, makeSigner, type Signer, startLoopback, type TestClock } from '../loopback.ts'

export const TENANT_A = '84bd8158-6d4d-4958-8b9f-9d6445542f95'
export const TENANT_B = '9f4ebab6-520d-49c0-85cc-7b25c78d4a93'
export const OID = '1e7d79fa-7893-4d50-bdde-164260d9c5ba'
export const RELAY_SECRET = 'a relay secret of at least 32 bytes, made for tests'

export interface MicrosoftWorld extends ProviderWorld {
  readonly server: Loopback
  readonly signer: Signer
  publish(...signers: Signer[]): void
}

export async function startMicrosoft(clock: TestClock, tenant = 'common'): Promise<MicrosoftWorld> {
  const server = await startLoopback()
  const signer = await makeSigner('k1', { issuer: `${server.url}/{tenantid}/v2.0` })
  const tokenPath = `/${tenant}/oauth2/v2.0/token`
  const publish = (...signers: Signer[]) => {
    server.reply(`/${tenant}/discovery/v2.0/keys`, {
      status: 200,
      body: { keys: signers.map(({ jwk }) => jwk) },
    })
  }
  publish(signer)
  return {
    server,
    signer,
    publish,
    environment: {
      MICROSOFT_CLIENT_ID: 'client-1',
      MICROSOFT_CLIENT_SECRET: CANARIES.secret,
      MICROSOFT_TENANT: tenant,
      MICROSOFT_LOGIN_URL: server.url,
      MICROSOFT_GRAPH_URL: server.url,
      MICROSOFT_WEBHOOK_SECRET: RELAY_SECRET,
    },
    replyToken: (...replies) => server.reply(tokenPath, ...replies),
    tokenRequests: () => server.requestsTo(tokenPath),
    async tokenAnswer(nonce: string, change: IdTokenChange = {}) {
      const now = Math.floor(clock.now.getTime() / 1000)
      const token = await signer.sign(
        {
          aud: 'client-1',
          iss: `${server.url}/${TENANT_A}/v2.0`,
          iat: now,
          nbf: now,
          exp: now + 3600,
          sub: 'AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ',
          oid: OID,
          tid: TENANT_A,
          preferred_username: 'Adele@contoso.example',
          name: 'Adele Vance',
          nonce,
          ver: '2.0',
          ...change.claims,
        },
        change.header,
      )
      return {
        status: 200,
        body: {
          token_type: 'Bearer',
          scope: `openid profile email ${server.url}/Mail.Read`,
          expires_in: 3599,
          ext_expires_in: 3599,
          access_token: CANARIES.access,
          refresh_token: CANARIES.refresh,
          id_token: change.token === undefined ? token : change.token(token),
          ...change.body,
        },
      }
    },
    close: () => server.close(),
  }
}
