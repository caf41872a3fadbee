/**
 * For the simulators' own tests: a start with fixed settings, a receiver on loopback that answers as told, a
 * client of the control API, and the browserless way through a consent.
 */
import { createHash, randomBytes } from 'node:crypto'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import { type SimulatorOptions, type Simulators, startSimulators } from '../src/start.ts'

export const canary = 'CANARY-sim-'
export const clientId = '5f0d9a34-1c2b-4e6f-8a71-0d9c8b7a6e54'
export const clientSecret = 'test-client-secret'
export const microsoftRedirect = 'http://127.0.0.1:8000/webhook/oauth/microsoft/callback'
export const googleRedirect = 'http://127.0.0.1:8000/webhook/oauth/google/callback'
export const googleClientId = '1234-abc.apps.googleusercontent.test'
export const pubsub = {
  topic: 'projects/sim/topics/mail',
  subscription: 'projects/sim/subscriptions/mail',
  audience: 'https://webhooks.example.test/push',
  serviceAccount: 'push@sim.iam.gserviceaccount.test',
}

export interface Received {
  method: string
  url: string
  headers: IncomingHttpHeaders
  body: string
}

export interface Answer {
  status: number
  headers?: Record<string, string>
  body?: string
  delayMs?: number
}

export interface Receiver {
  url: string
  received: Received[]
  /** Answers everything but handshakes with this, or as the function says. */
  answer: Answer | ((request: Received, count: number) => Answer)
  /** Answers handshakes; the default echoes the decoded token. */
  shake: (token: string, request: Received) => Answer
  waitFor(count: number, timeoutMs?: number): Promise<Received[]>
  close(): Promise<void>
}

export async function startReceiver(): Promise<Receiver> {
  const received: Received[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const { method = '', url = '', headers } = request
      const one = { method, url, headers, body: Buffer.concat(chunks).toString('utf8') }
      const token = new URL(url, 'http://receiver').searchParams.get('validationToken')
      received.push(one)
      const told = typeof receiver.answer === 'function' ? receiver.answer : () => receiver.answer as Answer
      const answer = token === null ? told(one, received.length) : receiver.shake(token, one)
      setTimeout(
        () => response.writeHead(answer.status, answer.headers).end(answer.body ?? ''),
        answer.delayMs ?? 0,
      )
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const receiver: Receiver = {
    url: `http://127.0.0.1:${port}`,
    received,
    answer: { status: 202 },
    shake: (token) => ({ status: 200, headers: { 'content-type': 'text/plain' }, body: token }),
    async waitFor(count, timeoutMs = 8_000) {
      const until = Date.now() + timeoutMs
      while (received.length < count) {
        if (Date.now() > until) throw new Error(`received ${received.length} of ${count}`)
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
      return received
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
  return receiver
}

export function start(receiver: Receiver, more: Partial<SimulatorOptions> = {}): Promise<Simulators> {
  return startSimulators({
    microsoft: { port: 0, clientId, clientSecret, redirectUris: [microsoftRedirect] },
    google: {
      port: 0,
      clientId: googleClientId,
      clientSecret,
      redirectUris: [googleRedirect],
      pubsub: { ...pubsub, pushUrl: `${receiver.url}/webhook/events/google` },
    },
    controlPort: 0,
    canary,
    ...more,
  })
}

// biome-ignore lint/suspicious/noExplicitAny: answers of the simulators are read as loosely as a test needs
export type Json = any

export interface Reply {
  status: number
  headers: Headers
  text: string
  json: Json
}

export async function call(url: string, init: RequestInit = {}): Promise<Reply> {
  const response = await fetch(url, { redirect: 'manual', ...init })
  const text = await response.text()
  let json: Json = null
  try {
    json = JSON.parse(text)
  } catch {
    json = null
  }
  return { status: response.status, headers: response.headers, text, json }
}

export function control(simulators: Simulators) {
  const headers = { authorization: `Bearer ${simulators.controlToken}` }
  return {
    get: (path: string) => call(simulators.controlUrl + path, { headers }),
    post: (path: string, body: unknown) =>
      call(simulators.controlUrl + path, { method: 'POST', headers, body: JSON.stringify(body) }),
  }
}

export function form(values: Record<string, string>): RequestInit {
  return { method: 'POST', body: new URLSearchParams(values) }
}

export function withBearer(token: string, init: RequestInit = {}): RequestInit {
  return { ...init, headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' } }
}

export const verifier = randomBytes(32).toString('base64url')
export const challenge = createHash('sha256').update(verifier).digest('base64url')

export function microsoftAuthUrl(
  simulators: Simulators,
  more: Record<string, string | undefined> = {},
): string {
  return authUrl(`${simulators.microsoftUrl}/common/oauth2/v2.0/authorize`, {
    client_id: clientId,
    redirect_uri: microsoftRedirect,
    response_type: 'code',
    response_mode: 'form_post',
    scope: 'openid profile email offline_access Mail.Read Calendars.ReadWrite',
    state: 'state-1',
    nonce: 'nonce-1',
    code_challenge: challenge,
    code_challenge_method: 'S256',
    ...more,
  })
}

export const gmailScope = 'https://www.googleapis.com/auth/gmail.readonly'

export function googleAuthUrl(simulators: Simulators, more: Record<string, string | undefined> = {}): string {
  return authUrl(`${simulators.googleUrl}/o/oauth2/v2/auth`, {
    client_id: googleClientId,
    redirect_uri: googleRedirect,
    response_type: 'code',
    scope: `openid email profile ${gmailScope} https://www.googleapis.com/auth/drive`,
    state: 'state-1',
    nonce: 'nonce-1',
    access_type: 'offline',
    prompt: 'consent',
    code_challenge: challenge,
    code_challenge_method: 'S256',
    ...more,
  })
}

function authUrl(endpoint: string, values: Record<string, string | undefined>): string {
  const url = new URL(endpoint)
  for (const [name, value] of Object.entries(values))
    if (value !== undefined) url.searchParams.set(name, value)
  return url.href
}

/** The parameters of the callback that the control API's `/authorize` describes. */
export async function consent(
  simulators: Simulators,
  authUrl: string,
  account: string,
  more: Record<string, unknown> = {},
): Promise<{ method: string; url: string; parameters: URLSearchParams }> {
  const { status, json } = await control(simulators).post('/authorize', { authUrl, account, ...more })
  if (status !== 200) throw new Error(`no callback: ${status} ${JSON.stringify(json)}`)
  const parameters = json.method === 'POST' ? new URLSearchParams(json.body) : new URL(json.url).searchParams
  return { method: json.method, url: json.url, parameters }
}

export function redeemMicrosoft(simulators: Simulators, code: string, more: Record<string, string> = {}) {
  return call(
    `${simulators.microsoftUrl}/common/oauth2/v2.0/token`,
    form({
      grant_type: 'authorization_code',
      client_id: clientId,
      client_secret: clientSecret,
      redirect_uri: microsoftRedirect,
      code,
      code_verifier: verifier,
      ...more,
    }),
  )
}

export function redeemGoogle(simulators: Simulators, code: string, more: Record<string, string> = {}) {
  return call(
    `${simulators.googleUrl}/token`,
    form({
      grant_type: 'authorization_code',
      client_id: googleClientId,
      client_secret: clientSecret,
      redirect_uri: googleRedirect,
      code,
      code_verifier: verifier,
      ...more,
    }),
  )
}

/** Tokens of a completed consent. */
export async function connectMicrosoft(
  simulators: Simulators,
  account = 'adele@contoso.test',
): Promise<Json> {
  const { parameters } = await consent(simulators, microsoftAuthUrl(simulators), account)
  return (await redeemMicrosoft(simulators, parameters.get('code') ?? '')).json
}

export async function connectGoogle(simulators: Simulators, account = 'gita@flow.test'): Promise<Json> {
  const { parameters } = await consent(simulators, googleAuthUrl(simulators), account)
  return (await redeemGoogle(simulators, parameters.get('code') ?? '')).json
}
