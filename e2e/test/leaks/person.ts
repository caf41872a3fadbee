/**
 * A person in front of the console whose every secret is noted: sign-in link, session cookie, state, nonce, verifier
 * (unsealed from the database with the service's own keys), ticket. Does what the pages do, over HTTP.
 */
import { createHash } from 'node:crypto'
import pg from 'pg'
import type { Vault } from '../../../auth/src/vault/vault.ts'
import type { Stack } from '../../../local/src/stack.ts'
import type { Ask, Reply, Trail } from './trail.ts'

export interface Parked {
  readonly ticket: string
  readonly state: string
}

export interface CallbackRequest {
  readonly method: 'GET' | 'POST'
  readonly url: string
  readonly contentType?: string
  readonly body?: string
}

export interface Person {
  readonly userId: string
  readonly cookie: string
  console(method: string, path: string, body?: unknown, ask?: Ask): Promise<Reply>
  /** Up to the request that the provider's page makes the browser send; `undefined` at a dead end of the provider. */
  begin(provider: string, account: string, choice?: { deny?: boolean }): Promise<CallbackRequest | undefined>
  callBack(request: CallbackRequest): Promise<Reply>
  /** From the button to the parked code. */
  park(provider: string, account: string): Promise<Parked>
  /** The whole way. @returns the status of its last step */
  connect(provider: string, account: string): Promise<number>
}

export interface Scene {
  readonly stack: Stack
  readonly trail: Trail
  readonly vault: Vault
}

export async function signIn(scene: Scene, email: string, role: 'user' | 'admin'): Promise<Person> {
  const { stack, trail } = scene
  const token = trail.secret('sign-in link', new URL(await stack.signinUrl(email, role)).hash.slice(1))
  const reply = await trail.ask(`${stack.urls.console}/bff/session`, {
    method: 'POST',
    headers: consoleHeaders(stack),
    body: JSON.stringify({ token }),
  })
  const cookie = reply.headers.getSetCookie()[0]?.split(';')[0] ?? ''
  trail.secret('session cookie', cookie.slice(cookie.indexOf('=') + 1))
  const { user_id } = JSON.parse(reply.text) as { user_id: string }
  return openPerson(scene, user_id, cookie)
}

export const consoleHeaders = (stack: Stack, hasBody = true): Record<string, string> => ({
  origin: stack.urls.console,
  'x-requested-with': 'flovify-console',
  ...(hasBody && { 'content-type': 'application/json' }),
})

export function openPerson({ stack, trail, vault }: Scene, userId: string, cookie: string): Person {
  const person: Person = {
    userId,
    cookie,
    console: (method, path, body, ask = {}) =>
      trail.ask(`${stack.urls.console}${path}`, {
        method,
        headers: { ...consoleHeaders(stack, body !== undefined), cookie },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        ...ask,
      }),
    async begin(provider, account, choice = {}) {
      const begun = await person.console('POST', `/bff/auth/connect/${provider}`, {}, { carries: 'a secret' })
      const { authUrl } = JSON.parse(begun.text) as { authUrl: string }
      const asked = new URL(authUrl).searchParams
      const state = trail.secret('state', asked.get('state') ?? '')
      trail.secret('nonce', asked.get('nonce') ?? '')
      trail.secret('PKCE verifier', await readVerifier(stack.database.url, vault, state))
      const answer = await control(stack, '/authorize', { authUrl, account, ...choice })
      return answer.status === 200 ? ((await answer.json()) as CallbackRequest) : undefined
    },
    callBack: (request) =>
      trail.ask(request.url, {
        method: request.method,
        ...(request.method === 'POST' && {
          headers: { 'content-type': request.contentType ?? '' },
          body: request.body ?? '',
        }),
      }),
    async park(provider, account) {
      const request = await person.begin(provider, account)
      if (request === undefined) throw new Error('the provider ended the flow')
      const reply = await person.callBack(request)
      const parameters = new URLSearchParams(request.body ?? new URL(request.url).search)
      const location = reply.headers.get('location') ?? ''
      const ticket = new URLSearchParams(URL.parse(location)?.hash.slice(1)).get('ticket')
      if (ticket === null) throw new Error(`the callback was answered with ${reply.status}`)
      return { ticket: trail.secret('ticket', ticket), state: parameters.get('state') ?? '' }
    },
    async connect(provider, account) {
      const { ticket } = await person.park(provider, account)
      return (await person.console('POST', '/bff/auth/finish', { ticket })).status
    },
  }
  return person
}

/** Asks the simulators; what they answer is theirs and not searched. */
export function control(stack: Stack, path: string, body?: unknown): Promise<Response> {
  return fetch(`${stack.urls.control}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${stack.secrets.controlToken}`, 'content-type': 'application/json' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(20_000),
  })
}

async function readVerifier(databaseUrl: string, vault: Vault, state: string): Promise<string> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  try {
    const { rows } = await client.query<
      Record<'id' | 'owner_id' | 'provider' | 'data_key' | 'verifier', string>
    >('select id, owner_id, provider, data_key, verifier from auth.oauth_states where state_hash = $1', [
      createHash('sha256').update(state).digest(),
    ])
    const row = rows[0]
    if (row === undefined) throw new Error('a flow that was begun is not stored')
    const context = {
      purpose: 'oauth_states',
      owner: row.owner_id,
      row: row.id,
      provider: row.provider,
    } as const
    return vault.open(row.data_key, context).unseal('verifier', row.verifier).reveal()
  } finally {
    await client.end()
  }
}
