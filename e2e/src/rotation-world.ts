/**
 * Two real Auth processes on one database, each with the keys it is given, the operator's command line beside them, and
 * a token endpoint that answers refreshes of seeded connections. For faults of a key rotation.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { answersOk, type Child, startChild } from '../../local/src/child.ts'
import { freePort } from '../../local/src/free-port.ts'
import { newEncryptionKey } from './seed.ts'
import { refreshTokenOf, tokenOf } from './seed-tokens.ts'

export interface RotationWorld {
  readonly serviceSecret: string
  /** As in ENCRYPTION_KEY. */
  readonly k0: string
  /** Of the two processes. */
  readonly origins: readonly [string, string]
  /** Starts a process, or stops it and starts it with other keys. @param ring ENCRYPTION_KEYS */
  start(which: 0 | 1, ring?: string): Promise<void>
  /** Runs a command to its end. */
  admin(ring: string | undefined, ...words: string[]): Promise<{ code: number | null; output: string }>
  /** Starts a command and leaves it running. */
  startAdmin(ring: string, ...words: string[]): ChildProcess
  /** How many the provider answered with a token. */
  refreshes(): number
  close(): Promise<void>
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

export async function openRotationWorld(databaseUrl: string, directory: string): Promise<RotationWorld> {
  const serviceSecret = randomBytes(32).toString('base64url')
  const k0 = newEncryptionKey()
  const endpoint = await startTokenEndpoint()
  const ports = await Promise.all(Array.from({ length: 4 }, freePort))
  const origins = [`http://127.0.0.1:${ports[0]}`, `http://127.0.0.1:${ports[1]}`] as const
  const children: (Child | undefined)[] = [undefined, undefined]

  const environment = (ring: string | undefined): Record<string, string> => ({
    AUTH_MODE: 'local',
    DATABASE_URL: databaseUrl,
    SERVICE_SECRET: serviceSecret,
    ENCRYPTION_KEY: k0,
    ...(ring === undefined ? {} : { ENCRYPTION_KEYS: ring }),
    WEBHOOK_BASE_URL: 'http://127.0.0.1:8000',
    CONSOLE_BASE_URL: 'http://localhost:3000',
    GOOGLE_CLIENT_ID: 'client-of-google',
    GOOGLE_CLIENT_SECRET: 'secret-of-google',
    GOOGLE_TOKEN_URL: endpoint.origin,
    GOOGLE_ACCOUNTS_URL: endpoint.origin,
    GOOGLE_API_URL: endpoint.origin,
    GMAIL_API_URL: endpoint.origin,
  })
  const startAdmin = (ring: string | undefined, ...words: string[]) =>
    spawn(process.execPath, ['auth/src/admin.ts', ...words], {
      cwd: ROOT,
      env: environment(ring),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  return {
    serviceSecret,
    k0,
    origins,
    async start(which, ring) {
      await children[which]?.stop()
      children[which] = await startChild({
        name: `Auth ${which}`,
        main: 'auth/src/main.ts',
        environment: {
          ...environment(ring),
          AUTH_PORT: String(ports[which + 2]),
          AUTH_INTERNAL_PORT: String(ports[which]),
        },
        logFile: join(directory, `auth-${which}.log`),
        logs: 'all',
        isReady: () => answersOk(`${origins[which]}/ready`),
        readyWithinMs: 60_000,
        drainMs: 20_000,
      })
    },
    startAdmin,
    async admin(ring, ...words) {
      const child = startAdmin(ring, ...words)
      let output = ''
      for (const stream of [child.stdout, child.stderr])
        stream.setEncoding('utf8').on('data', (text: string) => {
          output += text
        })
      const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
      return { code, output }
    },
    refreshes: endpoint.answered,
    async close() {
      await Promise.all(children.map((child) => child?.stop()))
      await endpoint.close()
    },
  }
}

/** A refresh of a seeded connection gets the same access token again, with an hour of life. */
async function startTokenEndpoint() {
  let answered = 0
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const asked = new URLSearchParams(Buffer.concat(chunks).toString('utf8')).get('refresh_token') ?? ''
    const id = asked.slice(refreshTokenOf('').length)
    const known = asked === refreshTokenOf(id)
    if (known) answered += 1
    response.writeHead(known ? 200 : 400, { 'content-type': 'application/json' })
    response.end(
      JSON.stringify(
        known
          ? { access_token: tokenOf(id), expires_in: 3599, scope: 'openid', token_type: 'Bearer' }
          : { error: 'invalid_grant', error_description: 'Bad Request' },
      ),
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    answered: () => answered,
    close: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
}
