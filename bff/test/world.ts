/** The BFF over real HTTP in front of a fake Auth, with a tiny built console in a temporary folder. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type OutgoingHttpHeaders, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BffConfig, buildApp } from '../src/app.ts'
import { SESSION_COOKIE } from '../src/session-cookie.ts'
import { type FakeAuth, LIVE, SERVICE_SECRET, startFakeAuth } from './fake-auth.ts'

export const ORIGIN = 'http://localhost:3000'
export const SIGNED_IN = `${SESSION_COOKIE}=${LIVE}`
/** What the console's script sends. */
export const FROM_CONSOLE = {
  origin: ORIGIN,
  'x-requested-with': 'flovify-console',
  'sec-fetch-site': 'same-origin',
}

export interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  text: string
  json: () => Record<string, unknown>
}

export interface World {
  readonly auth: FakeAuth
  readonly port: number
  readonly log: string[]
  call(method: string, path: string, headers?: OutgoingHttpHeaders, body?: string | Buffer): Promise<Answer>
  /** As the console's script does it. */
  ask(method: string, path: string, body?: unknown, cookie?: string): Promise<Answer>
  close(): Promise<void>
}

export async function startWorld(changes: Partial<BffConfig> = {}): Promise<World> {
  const auth = await startFakeAuth()
  const folder = consoleFolder()
  const log: string[] = []
  const app = buildApp({
    mode: 'local',
    consoleBaseUrl: ORIGIN,
    authInternalUrl: auth.url,
    serviceSecret: SERVICE_SECRET,
    consoleFolder: folder,
    logStream: { write: (line) => void log.push(line) },
    ...changes,
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const call: World['call'] = (method, path, headers = {}, body) =>
    new Promise((resolve, reject) => {
      const outgoing = request(
        { host: '127.0.0.1', port, method, path, headers, agent: false },
        (response) => {
          const chunks: Buffer[] = []
          response.on('data', (chunk: Buffer) => chunks.push(chunk))
          response.on('error', reject)
          response.on('end', () => {
            const text = Buffer.concat(chunks).toString()
            const status = response.statusCode ?? 0
            resolve({ status, headers: response.headers, text, json: () => JSON.parse(text) })
          })
        },
      )
      outgoing.on('error', reject)
      outgoing.end(body)
    })
  return {
    auth,
    port,
    log,
    call,
    ask: (method, path, body, cookie) => {
      const text = body === undefined ? undefined : JSON.stringify(body)
      return call(
        method,
        path,
        {
          ...(method === 'GET' ? {} : FROM_CONSOLE),
          ...(cookie === undefined ? {} : { cookie }),
          ...(text === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': text.length }),
        },
        text,
      )
    },
    async close() {
      await app.close()
      await auth.close()
      rmSync(folder, { recursive: true })
    },
  }
}

function consoleFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'bff-console-'))
  mkdirSync(join(folder, 'assets'))
  writeFileSync(join(folder, 'index.html'), '<!doctype html><title>console</title>')
  writeFileSync(join(folder, 'favicon.svg'), '<svg xmlns="http://www.w3.org/2000/svg"/>')
  writeFileSync(join(folder, 'assets', 'app-0a1b2c3d.js'), 'export {}')
  return folder
}
