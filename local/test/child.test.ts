import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Child, type Program, startChild } from '../src/child.ts'
import { isRunning } from '../src/postmaster.ts'

let directory: string
let children: Child[]

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'flovify-child-'))
  children = []
})

afterEach(async () => {
  for (const child of children) await child.stop()
  await rm(directory, { recursive: true, force: true })
})

const serve = `process.on('SIGTERM', () => { console.log('drained'); process.exit(0) })
setInterval(() => undefined, 1000)
console.log('ready')`

async function program(source: string, more: Partial<Program> = {}): Promise<Program> {
  const main = join(directory, 'main.mjs')
  await writeFile(main, source)
  return {
    name: 'The test program',
    main,
    environment: {},
    logFile: join(directory, 'main.log'),
    logs: 'all',
    isReady: async () => (await readFile(join(directory, 'main.log'), 'utf8')).includes('ready'),
    readyWithinMs: 10_000,
    drainMs: 5_000,
    ...more,
  }
}

async function start(source: string, more: Partial<Program> = {}): Promise<Child> {
  const child = await startChild(await program(source, more))
  children.push(child)
  return child
}

describe('a child process', () => {
  it('is told to stop, drains, and is gone', async () => {
    const child = await start(serve)
    const { pid } = child
    await child.stop()
    expect(isRunning(pid ?? 0)).toBe(false)
    expect(child.pid).toBeUndefined()
    expect(await readFile(child.logFile, 'utf8')).toContain('drained')
    expect((await stat(child.logFile)).mode & 0o777).toBe(0o600)
  })

  it('is killed when it does not drain in time', async () => {
    const child = await start(`process.on('SIGTERM', () => undefined); ${serve.slice(serve.indexOf('\n'))}`, {
      drainMs: 200,
    })
    const { pid } = child
    await child.stop()
    expect(isRunning(pid ?? 0)).toBe(false)
  })

  it('tells by name and last lines that it did not start', async () => {
    const error: unknown = await start(
      `console.error('ENCRYPTION_KEY is not the right one'); process.exit(3)`,
    ).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ name: 'StartError', code: 'child_died' })
    expect(String(error)).toContain('The test program did not start (exit code 3)')
    expect(String(error)).toContain('ENCRYPTION_KEY is not the right one')
  })

  it('tells when it is not ready in time, and leaves no process', async () => {
    const error: unknown = await start(`console.log(process.pid); setInterval(() => undefined, 1000)`, {
      readyWithinMs: 1_000,
    }).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'child_not_ready' })
    expect(isRunning(Number(/^\d+$/m.exec(await readFile(join(directory, 'main.log'), 'utf8'))?.[0]))).toBe(
      false,
    )
  })

  it('reports a death that nobody asked for', async () => {
    const child = await start(serve)
    process.kill(child.pid ?? 0, 'SIGKILL')
    expect(String(await child.died)).toContain('ended unexpectedly (signal SIGKILL)')
  })

  it('can be killed and restarted on purpose without a report', async () => {
    const child = await start(serve)
    const first = child.pid
    await child.kill('SIGKILL')
    expect(child.pid).toBeUndefined()
    await child.restart()
    expect(child.pid).not.toBe(first)
    expect(isRunning(child.pid ?? 0)).toBe(true)
    expect(await Promise.race([child.died, sleep(100)])).toBeUndefined()
  })

  it('gets nothing of the environment but what it was given', async () => {
    const child = await start(`console.log(JSON.stringify(process.env)); ${serve}`, {
      environment: { ONLY: 'this' },
    })
    expect(child.log()).toContain('"ONLY":"this"')
    expect(child.log()).not.toContain('"VITEST"')
  })

  it('keeps the standard output of a program that prints a secret out of the log', async () => {
    const child = await start(`console.log('canary-token'); console.error('ready'); ${serve}`, {
      logs: 'errors',
    })
    expect(child.log()).toContain('ready')
    expect(child.log()).not.toContain('canary-token')
  })

  it('drains by itself when its supervisor is killed', async () => {
    const settings = await program(`console.log('pid ' + process.pid); ${serve}`)
    const supervisor = `
      import { startChild } from ${JSON.stringify(fileURLToPath(new URL('../src/child.ts', import.meta.url)))}
      const child = await startChild({ ...${JSON.stringify(settings)}, isReady: async () => true })
      console.log(child.pid)
      setInterval(() => undefined, 1000)
    `
    const parent = spawn(process.execPath, ['--input-type=module', '--eval', supervisor], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [line] = await once(createInterface(parent.stdout), 'line')
    const pid = Number(line)
    while (!(await readFile(settings.logFile, 'utf8')).includes('ready')) await sleep(25)
    expect(isRunning(pid)).toBe(true)
    parent.kill('SIGKILL')
    for (let i = 0; i < 200 && isRunning(pid); i++) await sleep(25)
    expect(isRunning(pid)).toBe(false)
    expect(await readFile(settings.logFile, 'utf8')).toContain('drained')
  })
})
