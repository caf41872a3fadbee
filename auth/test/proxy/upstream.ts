/**
 * A provider that a test writes by hand: every path is its API, `/token` renews tokens, all that came is kept. And a
 * connection in the database whose tokens it knows.
 */
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Secret } from '@flovify/providers'
import { sql } from '../../src/db/sql.ts'
import { newId } from '../../src/platform/ids.ts'
import { openKeyRing } from '../../src/vault/key-ring.ts'
import { openVault } from '../../src/vault/vault.ts'
import type { World } from '../world.ts'

export interface Arrived {
  readonly method: string
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export interface Upstream {
  readonly origin: string
  /** Requests of the API, in order of their end. */
  readonly arrived: Arrived[]
  /** Connections that ended before their answer did. */
  readonly cut: { count: number }
  refreshes: number
  /** What the API does; answers 200 and `{}` unless given. */
  answer: (request: Arrived, response: ServerResponse) => void
  reset(): void
  close(): Promise<void>
}

export async function openUpstream(): Promise<Upstream> {
  const plain: Upstream['answer'] = (_, response) =>
    void response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
  const server = createServer((incoming, response) => {
    const chunks: Buffer[] = []
    response.on('close', () => {
      if (!response.writableFinished) upstream.cut.count += 1
    })
    incoming.on('error', () => undefined)
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
    incoming.on('end', () => {
      const { method = '', url = '', headers } = incoming
      if (url === '/token') {
        upstream.refreshes += 1
        response.writeHead(200, { 'content-type': 'application/json' })
        response.end(
          JSON.stringify({
            access_token: `access-${upstream.refreshes + 1}`,
            token_type: 'Bearer',
            expires_in: 3599,
            scope: 'openid',
          }),
        )
        return
      }
      const request = { method, url, headers, body: Buffer.concat(chunks) }
      upstream.arrived.push(request)
      upstream.answer(request, response)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const upstream: Upstream = {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    arrived: [],
    cut: { count: 0 },
    refreshes: 0,
    answer: plain,
    reset() {
      upstream.arrived.length = 0
      upstream.cut.count = 0
      upstream.refreshes = 0
      upstream.answer = plain
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
  return upstream
}

/** A Google connection with the token `access-1`, valid for an hour. @param of an earlier one, for the same user */
export async function seedToken(world: Pick<World, 'db' | 'encryptionKey'>, of?: string): Promise<string> {
  const id = newId('con')
  const owner = await world.db.one<{ id: string }>(
    of === undefined
      ? sql`insert into auth.users (email) values (${`${id}@example.com`}) returning id::text id`
      : sql`select owner_id id from auth.oauth_tokens where id = ${of}`,
  )
  const ownerId = owner?.id ?? ''
  const key = Buffer.from(world.encryptionKey, 'base64url')
  const vault = openVault(openKeyRing(new Map([['k0', key]]), 'k0'))
  const context = { purpose: 'oauth_tokens', owner: ownerId, row: id, provider: 'google' } as const
  const dataKey = vault.newDataKey(context)
  const sealing = vault.open(dataKey, context)
  await world.db.rows(sql`
    insert into auth.oauth_tokens (id, user_id, owner_id, provider, account_key, account_label, status, data_key,
      access_token, refresh_token, expires_at, issued_at, scope, scope_requested)
    values (${id}, ${ownerId}::int, ${ownerId}, 'google', ${id}, 'gita@example.com', 'active', ${dataKey},
      ${sealing.seal('access_token', new Secret('access-1'))}, ${sealing.seal('refresh_token', new Secret('refresh-1'))},
      auth.clock() + interval '1 hour', auth.clock(), 'openid', 'openid')`)
  return id
}
