/**
 * People and things that the tests of the doors need, made through the doors themselves wherever there is one: sessions
 * by one-time links, destinations and rules by an administrator, a Gmail mailbox by its rows.
 */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { sql } from '../../src/db/sql.ts'
import { newId } from '../../src/platform/ids.ts'
import type { World } from '../world.ts'
import { type Answer, askJson, json } from './wire.ts'

export interface Person {
  readonly email: string
  readonly userId: string
  /** Headers of a request in this person's name. */
  readonly headers: Readonly<Record<string, string>>
}

type Place = Pick<World, 'internalPort' | 'serviceToken'>

export async function signIn(world: Place, email: string, role: 'user' | 'admin' = 'user'): Promise<Person> {
  const service = { 'x-service-token': world.serviceToken }
  const post = (path: string, body: unknown) => askJson(world.internalPort, 'POST', path, service, body)
  const link = expectJson(await post('/internal/signin-links', { email, role }), 201) as { token: string }
  const begun = expectJson(await post('/internal/sessions', { signin_token: link.token }), 201) as {
    session_token: string
    session: { user_id: string }
  }
  return {
    email,
    userId: begun.session.user_id,
    headers: { ...service, 'x-session-token': begun.session_token },
  }
}

/** A destination with one rule for everything. */
export async function addRule(world: Place, admin: Person, url: string) {
  const post = (path: string, body: unknown) => askJson(world.internalPort, 'POST', path, admin.headers, body)
  const destination = expectJson(await post('/internal/destinations', { name: 'hook', url }), 201) as {
    id: string
  }
  const rule = expectJson(
    await post('/internal/rules', { name: 'everything', destination_id: destination.id }),
    201,
  ) as { id: string }
  return { destinationId: destination.id, ruleId: rule.id }
}

export function expectJson(answer: Answer, status: number): unknown {
  if (answer.status !== status) throw new Error(`${answer.status} instead of ${status}: ${answer.text}`)
  return json(answer)
}

/** A Google account of `address` with a live watch, as if it had been connected. */
export async function seedMailbox(db: World['db'], address: string): Promise<{ connectionId: string }> {
  const connectionId = newId('con')
  const owner = await db.one<{ id: string }>(sql`
    insert into auth.users (email) values (${address}) on conflict (email) do update set name = null returning id::text id`)
  // together: what is connected and not subscribed is subscribed by the service
  await db.transaction(async (tx) => {
    await tx.rows(sql`
      insert into auth.oauth_tokens (id, user_id, owner_id, provider, account_key, account_label, account_address, status, scope)
      values (${connectionId}, ${owner?.id}::int, ${owner?.id}, 'google', ${newId('sub')}, ${address}, ${address}, 'active',
              'https://www.googleapis.com/auth/gmail.readonly')`)
    await tx.rows(sql`
      insert into auth.subscriptions (id, connection_id, provider, kind, resource, state, provider_subscription_id, expires_at)
      values (${newId('sub')}, ${connectionId}, 'google', 'mail', 'gmail', 'active', 'gmail', auth.clock() + interval '6 days')`)
  })
  return { connectionId }
}

export interface Stored {
  readonly notifications: number
  readonly events: number
}

export async function stored(db: World['db']): Promise<Stored> {
  const row = await db.one<{ n: string; e: string }>(
    sql`select (select count(*) from auth.notifications) n, (select count(*) from auth.events) e`,
  )
  return { notifications: Number(row?.n), events: Number(row?.e) }
}

export async function forget(db: World['db']): Promise<void> {
  await db.rows(sql`truncate auth.notifications, auth.events, auth.event_keys`)
}

export interface Receiver {
  readonly port: number
  /** Ids and bodies that arrived. */
  readonly received: { readonly id: string; readonly body: string }[]
  close(): Promise<void>
}

export async function openReceiver(): Promise<Receiver> {
  const received: { id: string; body: string }[] = []
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      received.push({
        id: String(request.headers['webhook-id']),
        body: Buffer.concat(chunks).toString('utf8'),
      })
      response.writeHead(204).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    received,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** Asks again until it is so. @throws when it is not within `patienceMs` */
export async function until(what: string, isSo: () => Promise<boolean> | boolean, patienceMs = 10_000) {
  for (const end = performance.now() + patienceMs; performance.now() < end; ) {
    if (await isSo()) return
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
  throw new Error(`not within ${patienceMs} ms: ${what}`)
}
