/**
 * Outages with secrets under way: the database taken away in the middle of everything, and starts of Auth that must
 * fail. Each leaves the system as it found it and says how many errors it forced.
 */
import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { answersOk } from '../../../local/src/child.ts'
import { freePort } from '../../../local/src/free-port.ts'
import { consoleHeaders, control, type Person, type Scene } from './person.ts'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))

/** The database is away: at each step of connecting, at sign-in, at a notification, at every view. */
export async function provokeDatabase(scene: Scene, person: Person): Promise<number> {
  const { stack, trail } = scene
  const database = stack.database.embedded
  if (database === undefined) throw new Error('these tests need the embedded PostgreSQL')
  const parked = await person.park('microsoft', 'adele@contoso.test')
  const returning = await person.begin('google', 'gita@flow.test')
  const link = new URL(await stack.signinUrl('late@example.com', 'user')).hash.slice(1)
  trail.secret('sign-in link', link)
  await database.stop('immediate')
  const replies = [
    await person.console('POST', '/bff/auth/finish', { ticket: parked.ticket }),
    await trail.ask(`${stack.urls.console}/bff/session`, {
      method: 'POST',
      headers: consoleHeaders(stack),
      body: JSON.stringify({ token: link }),
    }),
    ...(returning === undefined ? [] : [await person.callBack(returning)]),
    ...(await viewsOf(scene, person)),
  ]
  await control(stack, '/message', { provider: 'microsoft', account: 'adele@contoso.test' })
  await control(stack, '/message', { provider: 'google', account: 'gita@flow.test' })
  await database.start()
  while (!(await answersOk(`${stack.urls.internal}/ready`))) await sleep(50)
  return replies.filter(({ status }) => status >= 500).length
}

/** Everything that can be looked at. */
export async function viewsOf({ stack, trail }: Scene, person: Person) {
  const replies = []
  for (const path of [
    '/bff/session',
    '/bff/providers',
    '/bff/connections',
    '/bff/events?limit=100',
    '/',
    '/auth/success',
    '/auth/error',
  ])
    replies.push(await person.console('GET', path))
  for (const path of ['/metrics', '/openapi.json', '/ready'])
    replies.push(await trail.ask(`${stack.urls.internal}${path}`))
  replies.push(await trail.ask(`${stack.urls.webhooks}/webhook/health`))
  return replies
}

/** Starts that must fail: a wrong key, a wrong database password, a short secret. What they say goes to a log. */
export async function provokeStart({ stack, trail }: Scene): Promise<number> {
  const good = {
    PATH: process.env.PATH,
    AUTH_MODE: 'local',
    DATABASE_URL: stack.database.url,
    SERVICE_SECRET: stack.secrets.serviceSecret,
    ENCRYPTION_KEY: stack.secrets.encryptionKey,
    WEBHOOK_BASE_URL: 'http://127.0.0.1:8000',
    CONSOLE_BASE_URL: 'http://localhost:3000',
    AUTH_PORT: String(await freePort()),
    AUTH_INTERNAL_PORT: String(await freePort()),
  }
  const wrongPassword = new URL(stack.database.url)
  wrongPassword.password = trail.made('database password')
  const wrong: Record<string, string>[] = [
    { ENCRYPTION_KEY: trail.secret('another key', `${trail.made('key text').slice(-43)}=`) },
    { ENCRYPTION_KEY: trail.made('malformed key') },
    { DATABASE_URL: wrongPassword.href },
    { DATABASE_URL: `${trail.made('malformed database URL')}` },
    {
      MICROSOFT_CLIENT_ID: 'id',
      MICROSOFT_CLIENT_SECRET: '',
      MICROSOFT_WEBHOOK_SECRET: trail.made('short relay secret').slice(0, 31),
    },
    { WEBHOOK_BASE_URL: `http://user:${trail.made('password in an origin')}@example.com` },
  ]
  const log = openSync(join(stack.logDir, 'auth-refused.log'), 'a', 0o600)
  let refused = 0
  for (const change of wrong) {
    const child = spawn(process.execPath, ['auth/src/main.ts'], {
      cwd: ROOT,
      env: { ...good, ...change },
      stdio: ['ignore', log, log],
    })
    const killed = setTimeout(() => child.kill('SIGKILL'), 20_000)
    const code = await new Promise<number | null>((resolve) => child.once('exit', resolve))
    clearTimeout(killed)
    if (code !== 0 && code !== null) refused += 1
  }
  closeSync(log)
  return refused
}
