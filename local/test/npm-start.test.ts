/**
 * `npm start` as a person meets it: real processes from the first line to the last. The providers have client ids
 * here, so no simulator is started; the demo's story with simulators is told in the end-to-end tests.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { platform, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { findPostmaster, isRunning, stopPostmaster } from '../src/postmaster.ts'
import { freePorts } from '../src/settings.ts'

const LAUNCH = fileURLToPath(new URL('../src/launch.cjs', import.meta.url))
let directory: string
let dataDir: string
let environment: Record<string, string | undefined>
let starts: Start[]

interface Start {
  readonly process: ChildProcess
  readonly output: () => string
  readonly ended: Promise<number | null>
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'flovify-npm-start-'))
  dataDir = join(directory, 'data')
  const ports = await freePorts()
  starts = []
  environment = {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    DATA_DIR: dataDir,
    AUTH_PORT: String(ports.auth),
    AUTH_INTERNAL_PORT: String(ports.authInternal),
    BFF_PORT: String(ports.bff),
    RECEIVER_PORT: String(ports.receiver),
    MICROSOFT_CLIENT_ID: '3f0c5f52-6d0e-4a52-9d0e-f10f1f7c0a11',
    MICROSOFT_CLIENT_SECRET: 'not-used-because-nothing-is-connected-here',
    GOOGLE_CLIENT_ID: 'nothing-is-connected.apps.googleusercontent.com',
    GOOGLE_CLIENT_SECRET: 'not-used-because-nothing-is-connected-here',
  }
})

afterEach(async () => {
  for (const start of starts) {
    if (start.process.exitCode === null && start.process.signalCode === null) start.process.kill('SIGKILL')
    await start.ended
  }
  const orphan = findPostmaster(join(dataDir, 'postgres'))
  if (orphan !== undefined) await stopPostmaster(orphan.pid, 'immediate')
  await rm(directory, { recursive: true, force: true })
})

function start(more: Record<string, string> = {}): Start {
  const child = spawn(process.execPath, [LAUNCH, 'start'], {
    env: { ...environment, ...more },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  const ended = once(child, 'close').then(([code]: unknown[]) => (typeof code === 'number' ? code : null))
  const begun = { process: child, output: () => output, ended }
  starts.push(begun)
  return begun
}

async function untilReady(begun: Start): Promise<void> {
  for (let i = 0; i < 1_200 && !begun.output().includes('Stop with Ctrl-C'); i++) {
    if (begun.process.exitCode !== null) throw new Error(`ended early:\n${begun.output()}`)
    await sleep(25)
  }
  expect(begun.output()).toContain('Stop with Ctrl-C')
}

/** What the process has started, and what those have, by the operating system's own list. */
function childrenOf(pid: number): { pid: number; line: string }[] {
  const direct = processes().filter((process) => process.parent === pid)
  return direct.flatMap((child) => [child, ...childrenOf(child.pid)])
}

function processes(): { pid: number; parent: number; line: string }[] {
  if (platform() !== 'linux') {
    const rows = execFileSync('ps', ['-Aww', '-o', 'pid=,ppid=,args='], { encoding: 'utf8' }).split('\n')
    return rows.map((row) => {
      const [pid, parent, ...words] = row.trim().split(/\s+/)
      return { pid: Number(pid), parent: Number(parent), line: words.join(' ') }
    })
  }
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return pids.flatMap((name) => {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8')
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
      return [{ pid: Number(name), parent, line: readFileSync(`/proc/${name}/cmdline`, 'utf8') }]
    } catch {
      return [] // it has ended meanwhile
    }
  })
}

async function untilGone(pids: readonly number[]): Promise<number[]> {
  for (let i = 0; i < 800 && pids.some(isRunning); i++) await sleep(25)
  return pids.filter(isRunning)
}

describe('npm start', () => {
  it('prints a one-time link that signs in, ends with 0 on Ctrl-C, and leaves no process', async () => {
    const begun = start()
    await untilReady(begun)
    const [link] = /http:\/\/localhost:\d+\/signin#[\w-]{43}/.exec(begun.output()) ?? []
    const url = new URL(link ?? '')
    const signIn = () =>
      fetch(`${url.origin}/bff/session`, {
        method: 'POST',
        headers: {
          origin: url.origin,
          'x-requested-with': 'flovify-console',
          'content-type': 'application/json',
        },
        body: JSON.stringify({ token: url.hash.slice(1) }),
      })
    const first = await signIn()
    expect(first.status).toBe(201)
    expect(await first.json()).toMatchObject({ role: 'admin' })
    expect((await signIn()).status).toBe(401)
    const page = await fetch(`${url.origin}/signin`)
    expect(page.headers.get('content-type')).toContain('text/html')

    const pids = childrenOf(begun.process.pid ?? 0).map(({ pid }) => pid)
    expect(pids.length).toBeGreaterThanOrEqual(3)
    begun.process.kill('SIGINT')
    expect(await begun.ended).toBe(0)
    expect(pids.filter(isRunning)).toEqual([])
    expect(findPostmaster(join(dataDir, 'postgres'))).toBeUndefined()
    const log = await readFile(join(dataDir, 'logs', 'postgres.log'), 'utf8')
    expect(log).toContain('database system is shut down')
  })

  it('after kill -9 its programs end by themselves, and the next start adopts PostgreSQL', async () => {
    const killed = start()
    await untilReady(killed)
    const postmaster = findPostmaster(join(dataDir, 'postgres'))?.pid
    killed.process.kill('SIGKILL')
    await killed.ended

    const next = start()
    await untilReady(next)
    expect(next.output()).toContain('found running, adopted')
    expect(findPostmaster(join(dataDir, 'postgres'))?.pid).toBe(postmaster)
    next.process.kill('SIGTERM')
    expect(await next.ended).toBe(0)
    expect(await untilGone([postmaster ?? 0])).toEqual([])
  }, 90_000)

  it('says which program died, stops the rest and ends with 1', async () => {
    const begun = start()
    await untilReady(begun)
    const children = childrenOf(begun.process.pid ?? 0)
    const auth = children.find(({ line }) => line.includes('auth/src/main.ts'))
    expect(auth).toBeDefined()
    if (auth !== undefined) process.kill(auth.pid, 'SIGKILL')
    expect(await begun.ended).toBe(1)
    expect(begun.output()).toContain('Auth ended unexpectedly (signal SIGKILL)')
    expect(children.filter(({ pid }) => isRunning(pid))).toEqual([])
  })

  it('passes on the sentence of Auth when the key does not fit the data', async () => {
    const first = start()
    await untilReady(first)
    first.process.kill('SIGINT')
    expect(await first.ended).toBe(0)

    const wrong = start({ ENCRYPTION_KEY: `${Buffer.alloc(32, 1).toString('base64url')}=` })
    expect(await wrong.ended).toBe(1)
    expect(wrong.output()).toMatch(/Auth did not start.*\n.*key/i)
    expect(wrong.output()).not.toContain('    at ')
    expect(findPostmaster(join(dataDir, 'postgres'))).toBeUndefined()
  })

  it('a second start beside a running one is refused', async () => {
    const first = start()
    await untilReady(first)
    const same = start()
    expect(await same.ended).toBe(1)
    expect(same.output()).toContain('is taken by another process')
    const ports = await freePorts()
    const elsewhere = start({
      AUTH_PORT: String(ports.auth),
      AUTH_INTERNAL_PORT: String(ports.authInternal),
      BFF_PORT: String(ports.bff),
      RECEIVER_PORT: String(ports.receiver),
    })
    expect(await elsewhere.ended).toBe(1)
    expect(elsewhere.output()).toContain('Another process already uses the data')
    first.process.kill('SIGINT')
    expect(await first.ended).toBe(0)
  })
})
