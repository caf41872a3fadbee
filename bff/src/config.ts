/**
 * Environment → configuration of the BFF, all mistakes at once, each a sentence that names the variable. The only
 * file here that reads the environment. Never prints a value: it may be a secret.
 */

export interface BffConfig {
  readonly mode: 'production' | 'local'
  /** Origin of the console, exactly as a browser sends it. */
  readonly consoleBaseUrl: string
  readonly authInternalUrl: string
  readonly serviceSecret: string
  /** `CONSOLE_FOLDER`, for images that keep the built console elsewhere; default: `console/dist` of this repository. */
  readonly consoleFolder?: string
  /** Where log lines go; default: standard output. */
  readonly logStream?: { write(line: string): void }
}

export interface ListenConfig {
  readonly host: string
  readonly port: number
}

export type ConfigReading =
  | { readonly kind: 'valid'; readonly config: BffConfig; readonly listen: ListenConfig }
  | { readonly kind: 'invalid'; readonly mistakes: readonly string[] }

type Environment = Readonly<Record<string, string | undefined>>

/** @param environment usually `process.env`; an empty text means "not set" */
export function readConfig(environment: Environment): ConfigReading {
  const mistakes: string[] = []
  const read = (name: string): string | undefined => environment[name]?.trim() || undefined

  const mode = read('AUTH_MODE') ?? 'production'
  if (mode !== 'production' && mode !== 'local') mistakes.push('AUTH_MODE must be production or local.')
  const local = mode === 'local'

  const consoleBaseUrl = origin('CONSOLE_BASE_URL', read('CONSOLE_BASE_URL'), local, mistakes)
  const webhookBaseUrl = origin('WEBHOOK_BASE_URL', read('WEBHOOK_BASE_URL'), local, mistakes)
  if (consoleBaseUrl && webhookBaseUrl && consoleBaseUrl.hostname === webhookBaseUrl.hostname) {
    mistakes.push(
      'CONSOLE_BASE_URL and WEBHOOK_BASE_URL must have different host names: cookies ignore ports (locally: localhost and 127.0.0.1).',
    )
  }
  const authInternalUrl = internalUrl(read('AUTH_INTERNAL_URL'), mistakes)
  const serviceSecret = read('SERVICE_SECRET')
  if (serviceSecret === undefined || serviceSecret.length < 32) {
    mistakes.push(
      'SERVICE_SECRET must have 32 characters or more, the same as for Auth: openssl rand -hex 32.',
    )
  }
  const port = Number(read('BFF_PORT') ?? '3000')
  if (!Number.isInteger(port) || port < 0 || port > 65_535) mistakes.push('BFF_PORT must be a port number.')

  if (mistakes.length > 0 || !consoleBaseUrl || !authInternalUrl || serviceSecret === undefined) {
    return { kind: 'invalid', mistakes }
  }
  const consoleFolder = read('CONSOLE_FOLDER')
  return {
    kind: 'valid',
    config: {
      ...(consoleFolder !== undefined && { consoleFolder }),
      mode: local ? 'local' : 'production',
      consoleBaseUrl: consoleBaseUrl.origin,
      authInternalUrl,
      serviceSecret,
    },
    listen: { host: local ? '127.0.0.1' : (read('BFF_HOST') ?? '0.0.0.0'), port },
  }
}

function origin(name: string, text: string | undefined, local: boolean, mistakes: string[]): URL | undefined {
  const url = text === undefined ? null : URL.parse(text)
  if (url === null || url.href !== `${url.origin}/`) {
    mistakes.push(`${name} must be an origin without path, for example https://console.example.com.`)
    return undefined
  }
  if (local ? !isLoopback(url) : url.protocol !== 'https:') {
    mistakes.push(
      local ? `${name} must be on loopback when AUTH_MODE=local.` : `${name} must begin with https://.`,
    )
    return undefined
  }
  return url
}

function internalUrl(text: string | undefined, mistakes: string[]): string | undefined {
  const url = text === undefined ? null : URL.parse(text)
  if (url !== null && /^https?:$/.test(url.protocol) && url.username === '' && url.search + url.hash === '') {
    return url.href.replace(/\/+$/, '')
  }
  mistakes.push('AUTH_INTERNAL_URL must be the address of the internal API, for example http://auth:8001.')
  return undefined
}

function isLoopback(url: URL): boolean {
  return (
    /^https?:$/.test(url.protocol) &&
    (url.hostname === 'localhost' || url.hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(url.hostname))
  )
}
