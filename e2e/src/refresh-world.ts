/**
 * Several real Auth processes on one database against simulated providers in a process of their own, with connections
 * whose refresh tokens those providers have issued. For faults of refreshing: what the providers were asked is counted
 * there and not by us.
 */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import pg from 'pg'
import { answersOk, type Child, startChild } from '../../local/src/child.ts'
import { freePort } from '../../local/src/free-port.ts'
import { newEncryptionKey } from './seed.ts'
import { type Grant, insertGrants, type ProviderName, type RefreshSeed, SCOPES } from './seed-grants.ts'
import { simulatedApps } from './simulated-apps.ts'

export interface TokenRequest {
  readonly atMs: number
  readonly grant: string
  readonly status: number | null
  readonly credential: string | null
}

export interface RefreshWorld {
  /** Internal origins, one of each process. */
  readonly origins: readonly string[]
  readonly serviceSecret: string
  readonly db: pg.Pool
  /** Starts a process, or stops it and starts it again. */
  start(which: number): Promise<void>
  /** `kill -9`; returns when it is gone. */
  kill(which: number): Promise<void>
  control(path: string, body?: unknown): Promise<unknown>
  /** What a provider was asked for by refreshes, and the most within any second. */
  asked(provider: ProviderName): Promise<{ peakPerSecond: number; requests: readonly TokenRequest[] }>
  /** @returns the ids of the connections */
  seed(seed: RefreshSeed): Promise<string[]>
  read(which: number, connectionId: string, minValidSeconds: number): Promise<Response>
  /** Moves the time of service and providers, as soon as no lease is held. */
  advance(seconds: number): Promise<void>
  close(): Promise<void>
}

export interface RefreshWorldOptions {
  /** Nothing is watched unless it says so. */
  readonly environment?: Readonly<Record<string, string>>
}

export const ACCOUNTS = { google: 'gita@flow.test', microsoft: 'adele@contoso.test' } as const
const SEED_BATCH = 1_000

/** @param directory for log files @param processes how many there may be; none is started yet */
export async function openRefreshWorld(
  databaseUrl: string,
  directory: string,
  processes: number,
  more: RefreshWorldOptions = {},
): Promise<RefreshWorld> {
  const serviceSecret = randomBytes(32).toString('base64url')
  const controlToken = randomBytes(32).toString('base64url')
  const key = newEncryptionKey()
  const [control = 0, google = 0, microsoft = 0, ...ports] = await freePorts(3 + 2 * processes)
  const at = (port: number | undefined) => `http://127.0.0.1:${port}`
  const origins = Array.from({ length: processes }, (_, i) => at(ports[2 * i]))
  const db = new pg.Pool({ connectionString: databaseUrl, max: 6 })
  // PostgreSQL may end before its idle connections do
  db.on('error', () => undefined)
  const children: (Child | undefined)[] = []
  const authorization = { authorization: `Bearer ${controlToken}` }
  const simulators = await startChild({
    name: 'The simulators',
    main: 'simulators/src/main.ts',
    environment: {
      SIMULATORS_CONFIG: JSON.stringify({
        controlPort: control,
        controlToken,
        ...simulatedApps(at(ports[1]), { google, microsoft }),
      }),
    },
    logFile: join(directory, 'simulators.log'),
    logs: 'errors',
    isReady: () => answersOk(`${at(control)}/state`, authorization),
    readyWithinMs: 30_000,
    drainMs: 5_000,
  })

  const tell = async (path: string, body?: unknown): Promise<unknown> => {
    const answer = await fetch(`${at(control)}${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { ...authorization, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
    return answer.json()
  }
  const environment = {
    AUTH_MODE: 'local',
    DATABASE_URL: databaseUrl,
    SERVICE_SECRET: serviceSecret,
    ENCRYPTION_KEY: key,
    // of the first process
    WEBHOOK_BASE_URL: at(ports[1]),
    CONSOLE_BASE_URL: 'http://localhost:3000',
    MICROSOFT_CLIENT_ID: 'client-of-microsoft',
    MICROSOFT_CLIENT_SECRET: 'secret-of-microsoft',
    MICROSOFT_LOGIN_URL: at(microsoft),
    MICROSOFT_GRAPH_URL: at(microsoft),
    MICROSOFT_WATCH: 'none',
    GOOGLE_WATCH: 'none',
    ...more.environment,
    GOOGLE_CLIENT_ID: 'client-of-google',
    GOOGLE_CLIENT_SECRET: 'secret-of-google',
    GOOGLE_TOKEN_URL: at(google),
    GOOGLE_ACCOUNTS_URL: at(google),
    GOOGLE_API_URL: at(google),
    GMAIL_API_URL: at(google),
  }

  return {
    origins,
    serviceSecret,
    db,
    async start(which) {
      await children[which]?.stop()
      children[which] = await startChild({
        name: `Auth ${which}`,
        main: 'auth/src/main.ts',
        environment: {
          ...environment,
          AUTH_INTERNAL_PORT: String(ports[2 * which]),
          AUTH_PORT: String(ports[2 * which + 1]),
        },
        logFile: join(directory, `auth-${which}.log`),
        logs: 'all',
        isReady: () => answersOk(`${origins[which]}/ready`),
        readyWithinMs: 60_000,
        drainMs: 20_000,
      })
    },
    kill: async (which) => {
      await children[which]?.kill('SIGKILL')
    },
    control: tell,
    async asked(provider) {
      const log = (await tell(`/token-requests/${provider}`)) as {
        peakPerSecond: number
        requests: TokenRequest[]
      }
      return {
        peakPerSecond: log.peakPerSecond,
        requests: log.requests.filter(({ grant }) => grant === 'refresh_token'),
      }
    },
    async seed(seed) {
      const { grants } = (await tell('/grants', {
        provider: seed.provider,
        account: ACCOUNTS[seed.provider],
        scopes: SCOPES[seed.provider],
        count: seed.count,
      })) as { grants: Grant[] }
      const ids: string[] = []
      for (let from = 0; from < grants.length; from += SEED_BATCH)
        ids.push(...(await insertGrants(db, key, seed, grants.slice(from, from + SEED_BATCH))))
      return ids
    },
    read: (which, connectionId, minValidSeconds) =>
      fetch(`${origins[which]}/internal/connections/${connectionId}/token`, {
        method: 'POST',
        headers: { 'x-service-token': serviceSecret, 'content-type': 'application/json' },
        body: JSON.stringify({ min_valid_seconds: minValidSeconds }),
      }),
    async advance(seconds) {
      for (;;) {
        const moved = await db.query<{ offset_ms: string }>(
          `update auth.clock_offset set offset_ms = offset_ms + $1
            where not exists (select from auth.refreshes where lease_until > auth.clock()) returning offset_ms`,
          [seconds * 1000],
        )
        const offset = moved.rows[0]?.offset_ms
        if (offset === undefined) continue
        await tell('/clock', { offsetMs: Number(offset) })
        return
      }
    },
    async close() {
      await Promise.all(children.map((child) => child?.stop()))
      await simulators.stop()
      await db.end()
    },
  }
}

async function freePorts(count: number): Promise<number[]> {
  const found = new Set<number>()
  while (found.size < count) found.add(await freePort())
  return [...found]
}
