/** The composed service before the simulated providers, and the whole way by which a person connects an account of theirs. */
import { randomBytes } from 'node:crypto'
import { startSimulators } from '@flovify/simulators'
import { simulatedApps } from '../../e2e/src/simulated-apps.ts'
import { sql } from '../src/db/sql.ts'
import { type Answer, ask, askJson, json } from './http/wire.ts'
import { openWorld, type World, type WorldOptions } from './world.ts'

export interface Simulated {
  readonly world: World
  /** Of the simulators. @returns the answer's JSON @throws when it is refused */
  control(path: string, body?: unknown): Promise<unknown>
  /** At the internal API, as the platform's backend. */
  post(path: string, body: unknown, instance?: number): Promise<Answer>
  newUser(): Promise<string>
  /** State, consent, callback, ticket, exchange. @returns the answer to the completion, and it again */
  complete(
    userId: string,
    provider: string,
    account: string,
  ): Promise<{ first: Answer; again: () => Promise<Answer> }>
  /** @returns the id of the connection */
  connect(userId: string, provider: string, account: string): Promise<string>
  close(): Promise<void>
}

/** @param canary what every secret that the simulators issue begins with */
export async function openSimulated(
  options: WorldOptions & { readonly canary?: string },
): Promise<Simulated> {
  const { canary, environment, ...more } = options
  const simulators = await startSimulators({
    controlPort: 0,
    ...(canary !== undefined && { canary }),
    ...simulatedApps('http://127.0.0.1:8000', { google: 0, microsoft: 0 }),
  })
  const world = await openWorld({
    ...more,
    environment: {
      MICROSOFT_LOGIN_URL: simulators.microsoftUrl,
      MICROSOFT_GRAPH_URL: simulators.microsoftUrl,
      GOOGLE_ACCOUNTS_URL: simulators.googleUrl,
      GOOGLE_TOKEN_URL: simulators.googleUrl,
      GOOGLE_API_URL: simulators.googleUrl,
      GMAIL_API_URL: simulators.googleUrl,
      ...environment,
    },
  })
  const post: Simulated['post'] = (path, body, instance = 0) =>
    askJson(
      world.instances[instance]?.internalPort ?? 0,
      'POST',
      path,
      { 'x-service-token': world.serviceToken },
      body,
    )

  async function control(path: string, body?: unknown): Promise<unknown> {
    const response = await fetch(`${simulators.controlUrl}${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { authorization: `Bearer ${simulators.controlToken}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`)
    return response.json()
  }

  const complete: Simulated['complete'] = async (userId, provider, account) => {
    const person = { user_id: userId, session_binding: randomBytes(32).toString('base64url') }
    const begun = json(await post('/internal/oauth/create-state', { ...person, provider }))
    const { authUrl } = begun as { authUrl: string }
    const back = (await control('/authorize', { authUrl, account })) as {
      method: string
      url: string
      contentType?: string
      body?: string
    }
    const { pathname, search } = new URL(back.url)
    const { method, body, contentType = '' } = back
    const form = body === undefined ? {} : { body, headers: { 'content-type': contentType } }
    const answer = await ask(world.publicPort, { method, path: pathname + search, ...form })
    const ticket = /#ticket=(.+)$/.exec(String(answer.headers.location))?.[1]
    const finish = () => post('/internal/oauth/complete', { ...person, ticket })
    return { first: await finish(), again: finish }
  }

  return {
    world,
    control,
    post,
    complete,
    async newUser() {
      const email = `${randomBytes(6).toString('hex')}@example.com`
      const row = await world.db.one<{ id: string }>(
        sql`insert into auth.users (email) values (${email}) returning id::text id`,
      )
      return row?.id ?? ''
    },
    async connect(userId, provider, account) {
      const done = json((await complete(userId, provider, account)).first)
      return (done as { connection: { id: string } }).connection.id
    },
    async close() {
      await world.close()
      await simulators.close()
    },
  }
}
