/**
 * A person of a fault: connects an account the whole way (state, consent, callback, ticket, exchange), takes the access
 * back at the provider, and connects the same account again. Nothing is written past the service's own doors.
 */
import { randomBytes } from 'node:crypto'
import type { RefreshWorld } from './refresh-world.ts'
import type { ProviderName } from './seed-grants.ts'

export interface Person {
  readonly provider: ProviderName
  readonly connectionId: string
  /** At the provider: all that was granted ends. */
  withdraw(): Promise<void>
  reconnect(): Promise<void>
}

/** Not the accounts of the seeded connections: what ends here ends for nobody else. */
const OWN_ACCOUNTS = { google: 'hugo@flow.test', microsoft: 'bruno@contoso.test' } as const

/** @param scopes what is asked for and granted */
export async function connectPerson(
  world: RefreshWorld,
  provider: ProviderName,
  scopes: readonly string[],
): Promise<Person> {
  const account = OWN_ACCOUNTS[provider]
  const { rows } = await world.db.query<{ id: string }>(
    `insert into auth.users (email) values ($1) on conflict (email) do update set email = excluded.email returning id::text id`,
    [account],
  )
  const owner = rows[0]?.id ?? ''
  const connect = async (connectionId?: string): Promise<string> => {
    const binding = randomBytes(32).toString('base64url')
    const begun = (await post(world, '/internal/oauth/create-state', {
      user_id: owner,
      provider,
      session_binding: binding,
      scopes,
      ...(connectionId === undefined ? {} : { connection_id: connectionId }),
    })) as { authUrl: string }
    const back = (await world.control('/authorize', { authUrl: begun.authUrl, account })) as {
      method: string
      url: string
      contentType?: string
      body?: string
    }
    const answer = await fetch(back.url, {
      method: back.method,
      redirect: 'manual',
      ...(back.body === undefined
        ? {}
        : { body: back.body, headers: { 'content-type': back.contentType ?? '' } }),
    })
    const ticket = /#ticket=(.+)$/.exec(answer.headers.get('location') ?? '')?.[1]
    if (ticket === undefined) throw new Error(`the callback answered ${answer.status} without a ticket`)
    const { connection } = (await post(world, '/internal/oauth/complete', {
      ticket,
      user_id: owner,
      session_binding: binding,
    })) as { connection: { id: string } }
    return connection.id
  }
  const connectionId = await connect()
  return {
    provider,
    connectionId,
    withdraw: async () => {
      await world.control('/revoke-account', { provider, account })
    },
    async reconnect() {
      const again = await connect(connectionId)
      if (again !== connectionId) throw new Error(`reconnecting made another connection: ${again}`)
    },
  }
}

async function post(world: RefreshWorld, path: string, body: unknown): Promise<unknown> {
  const answer = await fetch(`${world.origins[0]}${path}`, {
    method: 'POST',
    headers: { 'x-service-token': world.serviceSecret, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
  return answer.json()
}
