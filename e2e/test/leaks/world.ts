/**
 * The full run: a system with a thousand sealed canaries in it, people who connect real accounts, messages that arrive
 * and are delivered, errors of every kind; then a planted canary in each medium, which the search has to find. It
 * collects what is to be searched and judges nothing.
 */
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { appendFile, mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { ensureLocalDestination } from '../../../local/src/internal-api.ts'
import { type Stack, startStack } from '../../../local/src/stack.ts'
import * as forced from './forced-errors.ts'
import * as outages from './forced-outages.ts'
import { hostileInputs } from './hostile-inputs.ts'
import { consoleHeaders, control, type Person, type Scene, signIn } from './person.ts'
import { seedConnections, vaultOf } from './seeded-vault.ts'
import { playServices, type ServiceCalls } from './services.ts'
import { openTrail, type Trail } from './trail.ts'

export interface LeakWorld {
  readonly stack: Stack
  readonly trail: Trail
  /** How many errors of each kind were forced. */
  readonly forced: Readonly<Record<string, number>>
  readonly services: ServiceCalls
  readonly connected: number
  readonly delivered: number
  close(): Promise<void>
}

export const SEEDED = 1_000
export const PLANTED = 'planted'

export async function playEverything(): Promise<LeakWorld> {
  const directory = await mkdtemp(join(tmpdir(), 'flovify-leaks-'))
  const trail = openTrail()
  const closing: (() => Promise<unknown>)[] = [() => rm(directory, { recursive: true, force: true })]
  const close = async () => {
    for (const step of closing.reverse()) await step()
  }
  let failing = false
  try {
    const sessionSecret = trail.made('session secret of the platform')
    const relaySecret = trail.made('relay secret')
    const stack = await startStack({
      dataDir: join(directory, 'data'),
      environment: {
        MICROSOFT_WEBHOOK_SECRET: relaySecret,
        GOOGLE_WEBHOOK_SECRET: trail.made('channel secret'),
        SESSION_SECRET: sessionSecret,
        SESSION_ISSUER: 'https://platform.example.com',
        SESSION_AUDIENCE: 'flovify-connect',
      },
      receiver: { answerStatus: () => (failing ? 500 : 204) },
    })
    closing.push(() => stack.stop())
    const vault = vaultOf(stack.secrets.encryptionKey)
    const scene: Scene = { stack, trail, vault }
    await noteSecretsOf(stack, trail)
    await seedConnections(stack.database.url, vault, trail, SEEDED)

    const person = await signIn(scene, 'canary@example.com', 'admin')
    const statuses = [
      await person.connect('microsoft', 'adele@contoso.test'),
      await person.connect('google', 'gita@flow.test'),
    ]
    await signInByPlatform(scene, person, sessionSecret)
    await relay(scene, relaySecret)
    await sleep(1_000)
    const services = await playServices(scene, person)
    failing = true
    await sendMessages(stack)
    const counts: Record<string, number> = {
      provider: await forced.provokeProviders(scene, person),
      flow: await forced.provokeFlows(scene, person),
      door: await forced.provokeDoors(scene),
      forgery: await forced.provokeForgeries(scene),
      receiver: stack.receiver.received().filter(({ status }) => status === 500).length,
    }
    failing = false
    counts.database = await outages.provokeDatabase(scene, person)
    counts.start = await outages.provokeStart(scene)
    counts.hostile = await hostileInputs(scene, person)
    await sendMessages(stack)
    await outages.viewsOf(scene, person)
    await person.console('DELETE', '/bff/session')
    await sleep(6_000) // the first retry of what the receiver refused comes within five seconds
    await noteIssued(stack, trail)
    await noteClientStates(stack, trail)
    closing.push(await plant(scene))
    return {
      stack,
      trail,
      forced: counts,
      services,
      connected: statuses.filter((status) => status === 200).length,
      delivered: stack.receiver.received().filter(({ status, verified }) => verified && status === 204)
        .length,
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** What the system was started with and made for itself. */
async function noteSecretsOf(stack: Stack, trail: Trail): Promise<void> {
  const { secrets } = stack
  trail.secret('ENCRYPTION_KEY', secrets.encryptionKey)
  trail.secret('SERVICE_SECRET', secrets.serviceSecret)
  trail.secret('client secret', secrets.microsoftClientSecret)
  trail.secret('client secret', secrets.googleClientSecret)
  trail.secret('control token', secrets.controlToken)
  trail.secret('database password', decodeURIComponent(new URL(stack.database.url).password))
  const api = { origin: stack.urls.internal, serviceSecret: secrets.serviceSecret }
  const { secret } = await ensureLocalDestination(api, stack.receiver.hookUrl)
  trail.secret('destination secret', secret)
  trail.secret('destination secret', secret.replace('whsec_', ''))
}

/** Every code, token and JWT that the simulated providers gave out. */
async function noteIssued(stack: Stack, trail: Trail): Promise<void> {
  const { issued } = (await (await control(stack, '/issued')).json()) as {
    issued: { kind: string; value: string }[]
  }
  for (const { kind, value } of issued) trail.secret(kind.replaceAll('_', ' '), value)
}

/** Graph echoes it in every notification, and notifications are stored byte for byte. */
async function noteClientStates(stack: Stack, trail: Trail): Promise<void> {
  const client = new pg.Client({ connectionString: stack.database.url })
  await client.connect()
  const { rows } = await client.query<{ body: Buffer }>('select body from auth.notifications')
  await client.end()
  const found = rows.flatMap(({ body }) => [...body.toString('utf8').matchAll(/"clientState":"([^"]+)"/g)])
  for (const value of new Set(found.map((match) => match[1] ?? ''))) trail.secret('clientState', value)
}

async function sendMessages(stack: Stack): Promise<void> {
  await control(stack, '/message', { provider: 'microsoft', account: 'adele@contoso.test', subject: 'Hello' })
  await control(stack, '/message', { provider: 'google', account: 'gita@flow.test', subject: 'Hello' })
  await sleep(500)
}

/** A session of the platform itself: its JWT is a secret too. */
async function signInByPlatform({ stack, trail }: Scene, person: Person, secret: string): Promise<void> {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const now = Math.floor(Date.now() / 1000)
  const claims = {
    iss: 'https://platform.example.com',
    aud: 'flovify-connect',
    sub: person.userId,
    iat: now,
    exp: now + 3_600,
  }
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`
  const jwt = `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
  trail.secret('platform session', jwt)
  const reply = await trail.ask(`${stack.urls.console}/bff/session`, {
    method: 'POST',
    headers: { ...consoleHeaders(stack), cookie: `session=${jwt}` },
    body: JSON.stringify({ platform: true }),
  })
  const cookie = reply.headers.getSetCookie()[0]?.split(';')[0] ?? ''
  if (reply.status >= 300) throw new Error(`the platform's session was refused with ${reply.status}`)
  trail.secret('session cookie', cookie.slice(cookie.indexOf('=') + 1))
}

async function relay({ stack, trail }: Scene, secret: string): Promise<void> {
  const body = JSON.stringify({ hello: 'relay' })
  const reply = await trail.ask(`${stack.urls.webhooks}/webhook/events/microsoft`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'x-ms-signature': createHmac('sha256', secret).update(body).digest('hex'),
    },
    body,
  })
  if (reply.status !== 200) throw new Error(`the relay was refused with ${reply.status}`)
}

/**
 * One secret put where secrets must not be: a table, a log, an answer, a sort that spills to a temporary file, and by
 * that the data directory and the WAL. A sort of the token columns spills too. @returns what ends the open cursors
 */
async function plant({ stack, trail }: Scene): Promise<() => Promise<void>> {
  const planted = trail.made(PLANTED)
  const encoded = Buffer.from(`log of ${planted}`).toString('base64')
  await appendFile(join(stack.logDir, 'planted.log'), `${JSON.stringify({ level: 'info', encoded })}\n`)
  const echo = createServer((_request, response) => response.end(encodeURIComponent(planted)))
  echo.listen(0, '127.0.0.1')
  await once(echo, 'listening')
  const address = echo.address()
  await trail.ask(`http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/planted`)
  echo.close()
  echo.closeAllConnections()

  const client = new pg.Client({ connectionString: stack.database.url })
  await client.connect()
  await client.query(
    'create schema leak_control; create table leak_control.planted (words text, bytes bytea)',
  )
  await client.query('insert into leak_control.planted values ($1, null), (null, $2)', [
    planted,
    Buffer.from(planted),
  ])
  await client.query('checkpoint')
  await client.query("begin; set local work_mem = '64kB'")
  for (const [name, table] of [
    ['one', 'leak_control.planted'],
    ['two', 'auth.oauth_tokens'],
    ['three', 'auth.notifications'],
  ]) {
    const spill = `select t.*, md5(g::text) as spread from ${table} t, generate_series(1, 3000) g order by spread`
    await client.query(
      `declare ${name} cursor for ${table === 'auth.oauth_tokens' ? spill.replace('3000', '5') : spill}; fetch 1 from ${name}`,
    )
  }
  return async () => {
    await client.query('rollback')
    await client.end()
  }
}
