/**
 * What `npm start` and the demo read from the environment, and what they pass on to each process. A process gets only
 * what it needs: the keys go to Auth alone. It reads no file and starts nothing.
 */

import { resolve } from 'node:path'
import { freePort } from './free-port.ts'
import type { LocalSecrets } from './secrets.ts'
import { StartError } from './start-error.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** Every port, with the variable that sets it and the one it has otherwise. */
const PORTS = {
  auth: ['AUTH_PORT', 8000],
  authInternal: ['AUTH_INTERNAL_PORT', 8001],
  bff: ['BFF_PORT', 3000],
  receiver: ['RECEIVER_PORT', 8010],
  microsoft: ['MICROSOFT_SIMULATOR_PORT', 8020],
  google: ['GOOGLE_SIMULATOR_PORT', 8021],
  control: ['SIMULATORS_CONTROL_PORT', 8022],
} as const satisfies Record<string, readonly [variable: string, usual: number]>

export type PortName = keyof typeof PORTS
export type Ports = Readonly<Record<PortName, number>>

/** The providers that have a simulator. */
export const SIMULATED_PROVIDERS = ['microsoft', 'google'] as const
export type SimulatedProvider = (typeof SIMULATED_PROVIDERS)[number]

export function portVariable(name: PortName): string {
  return PORTS[name][0]
}

/** @throws StartError `settings` when a value is not a port */
export function portsFrom(environment: Environment): Ports {
  const port = (name: PortName): number => {
    const [variable, usual] = PORTS[name]
    const value = environment[variable] || String(usual)
    if (!/^\d{1,5}$/.test(value) || Number(value) < 1 || Number(value) > 65_535)
      throw new StartError('settings', `${variable} must be a port from 1 to 65535, not "${value}".`)
    return Number(value)
  }
  return everyPort(port)
}

/** Free ports for everything, so that several stacks can run side by side. */
export async function freePorts(): Promise<Ports> {
  const found = new Set<number>()
  while (found.size < Object.keys(PORTS).length) found.add(await freePort())
  const list = [...found]
  return everyPort((name) => list[Object.keys(PORTS).indexOf(name)] ?? 0)
}

function everyPort(port: (name: PortName) => number): Ports {
  return {
    auth: port('auth'),
    authInternal: port('authInternal'),
    bff: port('bff'),
    receiver: port('receiver'),
    microsoft: port('microsoft'),
    google: port('google'),
    control: port('control'),
  }
}

export function dataDirectory(environment: Environment): string {
  return resolve(environment.DATA_DIR || '.data')
}

/** A provider without a client id of its own is simulated. */
export function simulatedProviders(environment: Environment): SimulatedProvider[] {
  return SIMULATED_PROVIDERS.filter((id) => !environment[`${id.toUpperCase()}_CLIENT_ID`])
}

export interface Origins {
  readonly webhooks: string
  readonly console: string
  readonly internal: string
  readonly hooks: string
  readonly microsoft: string
  readonly google: string
}

/** Cookies ignore ports: the console is on `localhost`, everything else on `127.0.0.1` (design §8). */
export function originsOf(ports: Ports): Origins {
  const loopback = (port: number) => `http://127.0.0.1:${port}`
  return {
    webhooks: loopback(ports.auth),
    console: `http://localhost:${ports.bff}`,
    internal: loopback(ports.authInternal),
    hooks: `${loopback(ports.receiver)}/hooks`,
    microsoft: loopback(ports.microsoft),
    google: loopback(ports.google),
  }
}

const MICROSOFT_CLIENT_ID = '3f0c5f52-6d0e-4a52-9d0e-f10f1f7c0a11'
const GOOGLE_CLIENT_ID = 'flovify-local.apps.googleusercontent.com'

function pubsub(origins: Origins) {
  return {
    topic: 'projects/flovify-local/topics/gmail',
    subscription: 'projects/flovify-local/subscriptions/gmail-push',
    audience: `${origins.webhooks}/webhook/events/google`,
    serviceAccount: 'gmail-push@flovify-local.iam.gserviceaccount.com',
    pushUrl: `${origins.webhooks}/webhook/events/google`,
  }
}

/** The environment of the Auth service: the person's own, completed (design §2). */
export function authEnvironment(
  environment: Environment,
  parts: { ports: Ports; secrets: LocalSecrets; databaseUrl: string },
): Environment {
  const origins = originsOf(parts.ports)
  const simulated = simulatedProviders(environment)
  const push = pubsub(origins)
  return {
    ...plainEnvironment(environment),
    ...environment,
    ...(simulated.includes('microsoft') && {
      MICROSOFT_CLIENT_ID,
      MICROSOFT_CLIENT_SECRET: parts.secrets.microsoftClientSecret,
      MICROSOFT_TENANT: 'common',
      MICROSOFT_LOGIN_URL: origins.microsoft,
      MICROSOFT_GRAPH_URL: origins.microsoft,
    }),
    ...(simulated.includes('google') && {
      GOOGLE_CLIENT_ID,
      GOOGLE_CLIENT_SECRET: parts.secrets.googleClientSecret,
      GOOGLE_ACCOUNTS_URL: origins.google,
      GOOGLE_TOKEN_URL: origins.google,
      GOOGLE_API_URL: origins.google,
      GMAIL_API_URL: origins.google,
      GOOGLE_PUBSUB_AUDIENCE: push.audience,
      GOOGLE_PUBSUB_SERVICE_ACCOUNT: push.serviceAccount,
      GOOGLE_PUBSUB_TOPIC: push.topic,
      GOOGLE_PUBSUB_SUBSCRIPTION: push.subscription,
    }),
    DATABASE_URL: parts.databaseUrl,
    SERVICE_SECRET: parts.secrets.serviceSecret,
    ENCRYPTION_KEY: parts.secrets.encryptionKey,
    AUTH_PORT: String(parts.ports.auth),
    AUTH_INTERNAL_PORT: String(parts.ports.authInternal),
    AUTH_INTERNAL_URL: origins.internal,
    AUTH_MODE: 'local',
    WEBHOOK_BASE_URL: origins.webhooks,
    CONSOLE_BASE_URL: origins.console,
    // Exactly the receiver's own path: the guard stays on for everything else.
    EGRESS_ALLOW: [environment.EGRESS_ALLOW, origins.hooks.replace('http://', '')].filter(Boolean).join(','),
  }
}

/** The environment of the BFF: nothing that opens a token or the database. */
export function bffEnvironment(
  environment: Environment,
  parts: { ports: Ports; secrets: LocalSecrets },
): Environment {
  const origins = originsOf(parts.ports)
  return {
    ...plainEnvironment(environment),
    LOG_LEVEL: environment.LOG_LEVEL,
    BFF_PORT: String(parts.ports.bff),
    AUTH_INTERNAL_URL: origins.internal,
    SERVICE_SECRET: parts.secrets.serviceSecret,
    CONSOLE_BASE_URL: origins.console,
    WEBHOOK_BASE_URL: origins.webhooks,
    AUTH_MODE: 'local',
  }
}

/** The environment of the simulators: what a provider knows of us. */
export function simulatorsEnvironment(
  environment: Environment,
  parts: { ports: Ports; secrets: LocalSecrets; controlToken: string },
): Environment {
  const origins = originsOf(parts.ports)
  const simulated = simulatedProviders(environment)
  const redirectUri = (provider: SimulatedProvider) =>
    `${origins.webhooks}/webhook/oauth/${provider}/callback`
  const config = {
    ...(simulated.includes('microsoft') && {
      microsoft: {
        port: parts.ports.microsoft,
        clientId: MICROSOFT_CLIENT_ID,
        clientSecret: parts.secrets.microsoftClientSecret,
        redirectUris: [redirectUri('microsoft')],
      },
    }),
    ...(simulated.includes('google') && {
      google: {
        port: parts.ports.google,
        clientId: GOOGLE_CLIENT_ID,
        clientSecret: parts.secrets.googleClientSecret,
        redirectUris: [redirectUri('google')],
        pubsub: pubsub(origins),
      },
    }),
    controlPort: parts.ports.control,
    controlToken: parts.controlToken,
  }
  return { ...plainEnvironment(environment), SIMULATORS_CONFIG: JSON.stringify(config) }
}

/** What every program of the machine needs, and nothing of ours. */
export function plainEnvironment(environment: Environment): Environment {
  const { PATH, HOME, TMPDIR, LANG, TZ } = { ...process.env, ...environment }
  return { PATH, HOME, TMPDIR, LANG, TZ }
}
