/**
 * What a start of the simulators needs, and the reading of it from JSON.
 * It reports all mistakes at once and never names a secret's value.
 */

export interface MicrosoftOptions {
  port: number
  clientId: string
  clientSecret: string
  redirectUris: string[]
}

export interface PubsubOptions {
  /** `projects/P/topics/T`: the only topic that a watch may name. */
  topic: string
  /** `projects/P/subscriptions/S`: stands in every pushed envelope. */
  subscription: string
  /** The `aud` of the push token. */
  audience: string
  /** The `email` of the push token. */
  serviceAccount: string
  /** Where pushes are sent. Loopback only. */
  pushUrl: string
}

export interface GoogleOptions {
  port: number
  clientId: string
  clientSecret: string
  redirectUris: string[]
  pubsub: PubsubOptions
}

export interface SimulatorOptions {
  microsoft?: MicrosoftOptions | undefined
  google?: GoogleOptions | undefined
  controlPort: number
  /** Bearer token of the control API; made at start if absent. */
  controlToken?: string | undefined
  /** Prefix of every code and token issued, so that a search for leaks can find them. */
  canary?: string | undefined
  log?: ((line: string) => void) | undefined
  /** Milliseconds since 1970; a test moves it to let codes and tokens expire. */
  now?: (() => number) | undefined
}

/** @throws Error with code `bad_options`, whose message lists every mistake. */
export function readOptions(json: string): SimulatorOptions {
  const mistakes: string[] = []
  let parsed: unknown
  try {
    parsed = JSON.parse(json)
  } catch {
    throw badOptions(['not JSON'])
  }
  const root = record(parsed, 'configuration', mistakes)
  const options: SimulatorOptions = { controlPort: port(root, 'controlPort', '', mistakes) }
  if (root.controlToken !== undefined) options.controlToken = text(root, 'controlToken', '', mistakes)
  if (root.canary !== undefined) options.canary = text(root, 'canary', '', mistakes, true)
  if (root.microsoft !== undefined) {
    options.microsoft = application(record(root.microsoft, 'microsoft', mistakes), 'microsoft.', mistakes)
  }
  if (root.google !== undefined) {
    const google = record(root.google, 'google', mistakes)
    const pubsub = record(google.pubsub, 'google.pubsub', mistakes)
    const at = 'google.pubsub.'
    options.google = {
      ...application(google, 'google.', mistakes),
      pubsub: {
        topic: text(pubsub, 'topic', at, mistakes),
        subscription: text(pubsub, 'subscription', at, mistakes),
        audience: text(pubsub, 'audience', at, mistakes),
        serviceAccount: text(pubsub, 'serviceAccount', at, mistakes),
        pushUrl: text(pubsub, 'pushUrl', at, mistakes),
      },
    }
  }
  if (mistakes.length > 0) throw badOptions(mistakes)
  return options
}

/** Rules that hold for options from JSON and from a caller in the same process alike. */
export function checkOptions(options: SimulatorOptions): void {
  const mistakes: string[] = []
  if (options.controlToken !== undefined && options.controlToken.length < 32) {
    mistakes.push('controlToken needs at least 32 characters')
  }
  if (options.canary !== undefined && !/^[A-Za-z0-9._~-]{0,40}$/.test(options.canary)) {
    mistakes.push('canary may have up to 40 characters of A-Z a-z 0-9 . _ ~ -')
  }
  if (options.google !== undefined && !isLoopbackUrl(options.google.pubsub.pushUrl)) {
    mistakes.push('google.pubsub.pushUrl must be a loopback URL')
  }
  if (mistakes.length > 0) throw badOptions(mistakes)
}

/** The simulators send to this machine only. */
export function isLoopbackUrl(value: string): boolean {
  if (!URL.canParse(value)) return false
  const url = new URL(value)
  const web = url.protocol === 'http:' || url.protocol === 'https:'
  return web && ['127.0.0.1', 'localhost', '[::1]'].includes(url.hostname)
}

function application(source: Record<string, unknown>, at: string, mistakes: string[]): MicrosoftOptions {
  const uris = source.redirectUris
  const valid = Array.isArray(uris) && uris.length > 0 && uris.every((uri) => typeof uri === 'string')
  if (!valid) mistakes.push(`${at}redirectUris must be a list of URLs`)
  return {
    port: port(source, 'port', at, mistakes),
    clientId: text(source, 'clientId', at, mistakes),
    clientSecret: text(source, 'clientSecret', at, mistakes),
    redirectUris: valid ? uris.map(String) : [],
  }
}

function record(value: unknown, name: string, mistakes: string[]): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return { ...value }
  }
  mistakes.push(`${name} must be an object`)
  return {}
}

function text(
  from: Record<string, unknown>,
  name: string,
  at: string,
  mistakes: string[],
  empty = false,
): string {
  const value = from[name]
  if (typeof value === 'string' && (empty || value !== '')) return value
  mistakes.push(`${at}${name} must be a text`)
  return ''
}

function port(from: Record<string, unknown>, name: string, at: string, mistakes: string[]): number {
  const value = from[name]
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 65536) return value
  mistakes.push(`${at}${name} must be a port (0 for any free one)`)
  return 0
}

function badOptions(mistakes: string[]): Error {
  return Object.assign(new Error(`simulators: ${mistakes.join('; ')}`), { code: 'bad_options' })
}
