import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest'
import { type Postgres, startPostgres } from '../src/postgres.ts'
import { findPostmaster, isRunning } from '../src/postmaster.ts'
import { createTestDatabase } from '../src/test-database.ts'

const settings = { wal_level: 'minimal', max_wal_senders: '0', shared_buffers: '16MB' }
let parent: string
let dataDir: string
let started: Postgres[]

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'flovify-postgres-'))
  dataDir = join(parent, 'postgres')
  started = []
})

afterEach(async () => {
  for (const postgres of started) await postgres.stop('immediate')
  await rm(parent, { recursive: true, force: true })
})

async function start(options: { port?: number } = {}): Promise<Postgres> {
  const postgres = await startPostgres({ dataDir, settings, ...options })
  started.push(postgres)
  return postgres
}

async function query(url: string, text: string): Promise<unknown> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    const result = await client.query({ text, rowMode: 'array' })
    return result.rows[0]?.[0]
  } finally {
    await client.end()
  }
}

/** A supervisor in a process of its own, so that it can be killed. */
async function startInOtherProcess(): Promise<{ pid: number; serverPid: number }> {
  const program = `
    import { startPostgres } from ${JSON.stringify(fileURLToPath(new URL('../src/postgres.ts', import.meta.url)))}
    const postgres = await startPostgres(${JSON.stringify({ dataDir, settings })})
    console.log(postgres.pid)
    setInterval(() => undefined, 1000)
  `
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = await once(createInterface(child.stdout), 'line')
  if (child.pid === undefined) throw new Error('no process')
  return { pid: child.pid, serverPid: Number(line) }
}

describe('the embedded PostgreSQL', () => {
  it('keeps its data and password over a restart, and leaves no process', async () => {
    const first = await start()
    await query(first.url(), 'create table kept as select 42 as answer')
    await first.stop()
    expect(isRunning(first.pid)).toBe(false)
    await first.exited

    const second = await start()
    expect(second.adopted).toBe(false)
    expect(await query(second.url(), 'select answer from kept')).toBe(42)
    expect((await stat(`${dataDir}.password`)).mode & 0o777).toBe(0o600)
    expect((await stat(dataDir)).mode & 0o777).toBe(0o700)
  })

  it('OP-04 is durable by default, listens on loopback only and has no unix socket', async () => {
    const postgres = await start()
    expect(await query(postgres.url(), 'show fsync')).toBe('on')
    expect(await query(postgres.url(), 'show synchronous_commit')).toBe('on')
    expect(await query(postgres.url(), 'show full_page_writes')).toBe('on')
    expect(await query(postgres.url(), 'show listen_addresses')).toBe('127.0.0.1')
    expect(await query(postgres.url(), 'show unix_socket_directories')).toBe('')
  })

  it('refuses a wrong password', async () => {
    const url = new URL((await start()).url())
    url.password = 'guess'
    await expect(query(url.href, 'select 1')).rejects.toMatchObject({ code: '28P01' })
  })

  it('OP-01 writes neither a failing statement nor a row value to its log', async () => {
    const postgres = await start()
    await query(postgres.url(), 'create table pair (word text unique)')
    await query(postgres.url(), `insert into pair values ('canary-value')`)
    await expect(query(postgres.url(), `insert into pair values ('canary-value')`)).rejects.toThrow('unique')
    const log = await readFile(postgres.logFile, 'utf8')
    expect(log).toContain('duplicate key')
    expect(log).not.toContain('canary-value')
  })

  it('never writes its password to the log or the command line', async () => {
    const postgres = await start()
    const { password } = new URL(postgres.url())
    expect(password.length).toBeGreaterThan(30)
    expect(await readFile(postgres.logFile, 'utf8')).not.toContain(password)
    expect(await readFile(join(dataDir, 'postmaster.opts'), 'utf8')).not.toContain(password)
  })

  it('adopts the server that a killed supervisor has left', async () => {
    const orphaned = await startInOtherProcess()
    process.kill(orphaned.pid, 'SIGKILL')
    const postgres = await start()
    expect(postgres.adopted).toBe(true)
    expect(postgres.pid).toBe(orphaned.serverPid)
    expect(await query(postgres.url(), 'select 1')).toBe(1)
    await postgres.stop()
    expect(isRunning(orphaned.serverPid)).toBe(false)
  })

  it('refuses to share the data with a supervisor that is alive', async () => {
    const other = await startInOtherProcess()
    try {
      await expect(start()).rejects.toMatchObject({ name: 'StartError', code: 'already_running' })
      expect(isRunning(other.serverPid)).toBe(true)
    } finally {
      process.kill(other.pid, 'SIGKILL')
      await start()
    }
  })

  it('stops an orphan that does not take our password, and says what is wrong', async () => {
    const orphaned = await startInOtherProcess()
    process.kill(orphaned.pid, 'SIGKILL')
    await writeFile(`${dataDir}.password`, 'another\n')
    await expect(start()).rejects.toMatchObject({
      code: 'postgres_failed',
      message: expect.stringContaining('.password does not fit the data'),
    })
    expect(isRunning(orphaned.serverPid)).toBe(false)
  })

  it('starts over a stale postmaster.pid that names a process of somebody else', async () => {
    const first = await start()
    await first.stop()
    await writeFile(
      join(dataDir, 'postmaster.pid'),
      `${process.pid}\n${dataDir}\n1\n${first.port}\n\n127.0.0.1\n`,
    )
    expect(findPostmaster(dataDir)).toBeUndefined()
    const second = await start()
    expect(second.adopted).toBe(false)
    expect(isRunning(process.pid)).toBe(true)
  })

  it('recovers what was committed before the server was killed', async () => {
    const first = await start()
    await query(first.url(), 'create table kept as select 42 as answer')
    process.kill(first.pid, 'SIGKILL')
    await first.exited
    const second = await start()
    expect(await query(second.url(), 'select answer from kept')).toBe(42)
  })

  it('refuses data of another major version in one sentence', async () => {
    await mkdir(dataDir)
    await writeFile(join(dataDir, 'PG_VERSION'), '15\n')
    const error: unknown = await start().catch((caught: unknown) => caught)
    expect(error).toMatchObject({ name: 'StartError', code: 'wrong_major' })
    expect(String(error)).toMatch(/written by PostgreSQL 15, this is PostgreSQL 18/)
    expect(String(error)).not.toContain('\n')
  })

  it('refuses a taken port in one sentence that names it', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    try {
      await expect(start({ port })).rejects.toMatchObject({
        code: 'port_taken',
        message: expect.stringContaining(`Port ${port} `),
      })
      expect(findPostmaster(dataDir)).toBeUndefined()
    } finally {
      server.close()
    }
  })

  it('refuses a directory that holds something else, and leaves it as it is', async () => {
    await mkdir(dataDir)
    await writeFile(join(dataDir, 'letter.txt'), 'mine')
    await expect(start()).rejects.toMatchObject({ code: 'data_directory' })
    expect(await readFile(join(dataDir, 'letter.txt'), 'utf8')).toBe('mine')
  })
})

describe('test databases', () => {
  it('are cloned at the same time from one template, each with its own rows', async () => {
    const url = inject('postgresUrl')
    const databases = await Promise.all(
      Array.from({ length: 4 }, () => createTestDatabase(url, { template: 'template0' })),
    )
    for (const [index, database] of databases.entries())
      await query(database.url, `create table mine as select ${index} as number`)
    for (const [index, database] of databases.entries())
      expect(await query(database.url, 'select number from mine')).toBe(index)
    for (const database of databases) await database.drop()
    await expect(query(databases[0]?.url ?? '', 'select 1')).rejects.toMatchObject({ code: '3D000' })
  })
})
