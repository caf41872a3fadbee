/**
 * The whole system on one machine: PostgreSQL, Auth, the simulators of the providers that are not configured, the
 * receiver, and the BFF with the console. Started in order, watched, and stopped in order: what talks to Auth first,
 * then Auth drained, PostgreSQL last. `npm start`, the demo and the end-to-end tests all use it. It prints nothing.
 */

import { randomBytes } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { answersOk, type Child, startChild } from './child.ts'
import { buildConsole } from './console-build.ts'
import { type Database, embedDatabase, useDatabase } from './database.ts'
import { ensureLocalDestination, type InternalApi, makeSigninLink } from './internal-api.ts'
import { type Receiver, type ReceiverOptions, startReceiver } from './receiver.ts'
import { claimPorts, type RunMarker } from './run-marker.ts'
import { keepSecrets, type LocalSecrets } from './secrets.ts'
import {
  authEnvironment,
  bffEnvironment,
  type Environment,
  freePorts,
  originsOf,
  type PortName,
  type Ports,
  type SimulatedProvider,
  simulatedProviders,
  simulatorsEnvironment,
} from './settings.ts'
import type { StartError } from './start-error.ts'

export interface StackOptions {
  /** Data, secrets and logs. */
  readonly dataDir: string
  /** Free ones when absent. */
  readonly ports?: Ports
  /** What Auth is configured with beyond what the stack sets: providers with a client id are not simulated. */
  readonly environment?: Environment
  readonly postgresSettings?: Readonly<Record<string, string>>
  /** How the receiver behaves; tests let it fail. */
  readonly receiver?: Pick<ReceiverOptions, 'keep' | 'answerStatus'>
  /** Readable steps: one short line each. */
  readonly onProgress?: (line: string) => void
}

export interface Stack {
  readonly urls: {
    readonly console: string
    readonly webhooks: string
    readonly internal: string
    readonly receiver: string
    readonly microsoft: string | undefined
    readonly google: string | undefined
    readonly control: string | undefined
  }
  readonly secrets: LocalSecrets & { readonly controlToken: string }
  readonly simulated: readonly SimulatedProvider[]
  readonly database: Database
  readonly auth: Child
  readonly simulators: Child | undefined
  readonly bff: Child
  readonly receiver: Receiver
  readonly dataDir: string
  readonly logDir: string
  /** Resolves when a part ends without having been told to. */
  readonly failed: Promise<StartError>
  /** The console's address that signs in once. */
  signinUrl(email: string, role: 'user' | 'admin'): Promise<string>
  stop(): Promise<void>
}

/**
 * Starts everything and waits until it serves.
 *
 * @throws StartError when something does not start; what had been started is stopped by then
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  const environment = options.environment ?? {}
  const onProgress = options.onProgress ?? (() => undefined)
  const simulated = simulatedProviders(environment)
  const ports = options.ports ?? (await freePorts())
  const origins = originsOf(ports)
  const dataDir = resolve(options.dataDir)
  const logDir = join(dataDir, 'logs')
  await mkdir(logDir, { recursive: true, mode: 0o755 })
  const marker = await claimPorts(dataDir, ports, usedPorts(simulated), onProgress)
  const secrets = {
    ...(await keepSecrets(join(dataDir, 'secrets.json'), environment)),
    controlToken: randomBytes(24).toString('base64url'),
  }

  await writeFile(join(dataDir, 'control-token'), `${secrets.controlToken}\n`, { mode: 0o600 })
  const running: Running = { marker }
  const stop = () => stopInOrder(running)
  const parts = { ports, secrets, controlToken: secrets.controlToken }
  const log = (name: string) => join(logDir, `${name}.log`)

  const startSimulators = async () => {
    if (simulated.length === 0) return
    running.simulators = await startChild({
      name: 'The simulators',
      main: 'simulators/src/main.ts',
      environment: simulatorsEnvironment(environment, parts),
      logFile: log('simulators'),
      logs: 'errors', // its first line on standard output carries the control token
      isReady: () =>
        answersOk(`http://127.0.0.1:${ports.control}/state`, {
          authorization: `Bearer ${secrets.controlToken}`,
        }),
      readyWithinMs: 30_000,
      drainMs: 5_000,
    })
  }
  const startDatabase = async () => {
    const database = await (environment.DATABASE_URL
      ? useDatabase(environment.DATABASE_URL)
      : embedDatabase(dataDir, logDir, options.postgresSettings))
    running.database = database
    onProgress(`Database: ${database.description}`)
    return database
  }

  try {
    // A wrong DATABASE_URL is told before anything is built.
    const given = environment.DATABASE_URL ? await startDatabase() : undefined
    // These three need nothing of each other. All have settled before the first failure is thrown.
    const begun = [given ?? startDatabase(), startSimulators(), buildConsole(onProgress)] as const
    await Promise.allSettled(begun)
    const [database] = await Promise.all(begun)
    const auth = await startChild({
      name: 'Auth',
      main: 'auth/src/main.ts',
      environment: authEnvironment(environment, { ports, secrets, databaseUrl: database.url }),
      logFile: log('auth'),
      logs: 'all',
      isReady: () => answersOk(`${origins.internal}/ready`),
      readyWithinMs: 60_000,
      drainMs: 20_000,
    })
    running.auth = auth
    onProgress('Auth: ready, schema up to date')

    const api: InternalApi = { origin: origins.internal, serviceSecret: secrets.serviceSecret }
    const destination = await ensureLocalDestination(api, origins.hooks)
    const receiver = await startReceiver({
      ...options.receiver,
      secret: destination.secret,
      port: ports.receiver,
    })
    running.receiver = receiver
    const bff = await startChild({
      name: 'The BFF',
      main: 'bff/src/main.ts',
      environment: bffEnvironment(environment, { ports, secrets }),
      logFile: log('bff'),
      logs: 'all',
      isReady: () => answersOk(`http://127.0.0.1:${ports.bff}/healthz`),
      readyWithinMs: 30_000,
      drainMs: 12_000,
    })
    running.bff = bff
    onProgress('Console: ready')

    const { simulators } = running
    let stopping: Promise<void> | undefined
    return {
      urls: {
        console: origins.console,
        webhooks: origins.webhooks,
        internal: origins.internal,
        receiver: receiver.url,
        microsoft: simulated.includes('microsoft') ? origins.microsoft : undefined,
        google: simulated.includes('google') ? origins.google : undefined,
        control: simulators === undefined ? undefined : `http://127.0.0.1:${ports.control}`,
      },
      secrets,
      simulated,
      database,
      auth,
      simulators,
      bff,
      receiver,
      dataDir,
      logDir,
      failed: Promise.race([
        database.died,
        auth.died,
        bff.died,
        ...(simulators === undefined ? [] : [simulators.died]),
      ]),
      signinUrl: async (email, role) => {
        const link = await makeSigninLink(api, email, role)
        return `${origins.console}/signin#${link.token}`
      },
      stop: () => {
        stopping ??= stop()
        return stopping
      },
    }
  } catch (error) {
    await stop()
    throw error
  }
}

/** What runs at a moment of starting, so that a failure stops exactly that. */
interface Running {
  readonly marker: RunMarker
  database?: Database
  simulators?: Child
  auth?: Child
  receiver?: Receiver
  bff?: Child
}

/** The receiver outlives Auth, so that deliveries under way still arrive while it drains. */
async function stopInOrder(running: Running): Promise<void> {
  await Promise.all([running.bff?.stop(), running.simulators?.stop()])
  await running.auth?.stop()
  await running.receiver?.close()
  await running.database?.stop()
  await running.marker.remove()
}

function usedPorts(simulated: readonly SimulatedProvider[]): PortName[] {
  const always: PortName[] = ['bff', 'auth', 'authInternal', 'receiver']
  return simulated.length === 0 ? always : [...always, ...simulated, 'control']
}
