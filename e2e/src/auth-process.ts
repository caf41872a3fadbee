/**
 * A real Auth as its own process for faults and benchmarks that need no simulators, and its internal API as an
 * administrator uses it. Receivers are on 127.0.0.1 below `/hook`.
 */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { answersOk, type Child, startChild } from '../../local/src/child.ts'
import { freePort } from '../../local/src/free-port.ts'
import { newEncryptionKey } from './seed.ts'

export interface AuthOptions {
  readonly databaseUrl: string
  readonly directory: string
  readonly receiverPort: number
  readonly role?: 'all' | 'door' | 'work'
  /** Where destinations may be; `/hook` unless given. */
  readonly receiverPath?: string
  /** Of the first process, when there are several. */
  readonly secrets?: AuthSecrets
  /** Tells the log files of several apart. */
  readonly name?: string
  /** Settings beside those that are always there. */
  readonly environment?: Readonly<Record<string, string>>
}

export interface AuthSecrets {
  readonly serviceSecret: string
  readonly encryptionKey: string
}

export interface AuthUnderFault {
  readonly secrets: AuthSecrets
  readonly child: Child
  readonly publicPort: number
  /** Notifications go here. */
  readonly webhooks: string
  /** As an administrator. @returns the answer's JSON, {} for none @throws with the answer's text when it is not 2xx */
  call(
    method: 'GET' | 'POST' | 'PATCH' | 'DELETE',
    path: string,
    body?: unknown,
  ): Promise<Record<string, unknown>>
  /** A destination at `/hook/{n}` and a rule that sends it all mail. @returns its id */
  addDestination(n: number, settings?: Readonly<Record<string, unknown>>): Promise<string>
  stop(): Promise<void>
}

export async function startAuthUnderFault(options: AuthOptions): Promise<AuthUnderFault> {
  const [publicPort, internalPort] = [await freePort(), await freePort()]
  const secrets = options.secrets ?? {
    serviceSecret: randomBytes(32).toString('base64url'),
    encryptionKey: newEncryptionKey(),
  }
  const internal = `http://127.0.0.1:${internalPort}`
  const child = await startChild({
    name: 'Auth',
    main: 'auth/src/main.ts',
    environment: {
      AUTH_MODE: 'local',
      AUTH_ROLE: options.role ?? 'all',
      AUTH_PORT: String(publicPort),
      AUTH_INTERNAL_PORT: String(internalPort),
      DATABASE_URL: options.databaseUrl,
      SERVICE_SECRET: secrets.serviceSecret,
      ENCRYPTION_KEY: secrets.encryptionKey,
      WEBHOOK_BASE_URL: 'http://127.0.0.1:8000',
      CONSOLE_BASE_URL: 'http://localhost:3000',
      MICROSOFT_CLIENT_ID: 'client',
      MICROSOFT_CLIENT_SECRET: 'secret',
      MICROSOFT_LOGIN_URL: 'http://127.0.0.1:9',
      MICROSOFT_GRAPH_URL: 'http://127.0.0.1:9',
      EGRESS_ALLOW: `127.0.0.1:${options.receiverPort}${options.receiverPath ?? '/hook'}`,
      ...options.environment,
    },
    logFile: join(options.directory, `${options.name ?? 'auth'}.log`),
    logs: 'errors',
    isReady: () => answersOk(`${internal}/ready`),
    readyWithinMs: 60_000,
    drainMs: 20_000,
  })
  let session: string | undefined
  const ask = async (method: string, path: string, body: unknown, headers: Record<string, string>) => {
    const answer = await fetch(`${internal}${path}`, {
      method,
      headers: { 'x-service-token': secrets.serviceSecret, ...headers },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
    return answer.status === 204 ? {} : ((await answer.json()) as Record<string, unknown>)
  }
  const json = { 'content-type': 'application/json' }
  const signIn = async () => {
    const link = await ask(
      'POST',
      '/internal/signin-links',
      { email: 'admin@example.com', role: 'admin' },
      json,
    )
    const made = await ask('POST', '/internal/sessions', { signin_token: link.token }, json)
    return String(made.session_token)
  }
  const call: AuthUnderFault['call'] = async (method, path, body) => {
    session ??= await signIn()
    return ask(method, path, body, { 'x-session-token': session, ...(body !== undefined && json) })
  }
  return {
    secrets,
    child,
    publicPort,
    webhooks: `http://127.0.0.1:${publicPort}`,
    call,
    async addDestination(n, settings = {}) {
      const url = `http://127.0.0.1:${options.receiverPort}/hook/${n}`
      const { id } = await call('POST', '/internal/destinations', { name: `number ${n}`, url, ...settings })
      await call('POST', '/internal/rules', { name: 'mail', destination_id: id, types: ['mail.*'] })
      return String(id)
    },
    stop: () => child.stop(),
  }
}
