/**
 * The directory of PostgreSQL's data: what is in it, the password that belongs to it, and how a new one is made.
 * It never deletes or changes data that is already there.
 */

import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rename, rm, rmdir, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Account, isMissing } from './postgres-account.ts'
import type { PostgresBinaries } from './postgres-binaries.ts'
import { StartError } from './start-error.ts'

/** The one role of the embedded server. */
export const USER = 'flovify'

/** Everything about one data directory that starting its server needs. */
export interface Site {
  readonly dataDir: string
  readonly binaries: PostgresBinaries
  readonly account: Account
  readonly password: string
  readonly logFile: string
  readonly settings: Readonly<Record<string, string>>
}

export function hasData(dataDir: string): boolean {
  return existsSync(join(dataDir, 'PG_VERSION'))
}

export function checkMajor(dataDir: string, ours: number): void {
  const file = join(dataDir, 'PG_VERSION')
  if (!existsSync(file)) return
  const theirs = readFileSync(file, 'utf8').trim()
  if (theirs === String(ours)) return
  throw new StartError(
    'wrong_major',
    `The data in ${dataDir} was written by PostgreSQL ${theirs}, this is PostgreSQL ${ours}, which cannot read it: move the directory away to start empty, or set DATABASE_URL to a PostgreSQL ${theirs} that serves it.`,
  )
}

/** Reads the password of this data, or makes one for data that is still to be made. */
export async function keepPassword(file: string, dataExists: boolean): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim()
  } catch (error) {
    if (!isMissing(error))
      throw new StartError('data_directory', `The database password ${file} cannot be read.`)
  }
  if (dataExists)
    throw new StartError(
      'data_directory',
      `There is data but its password file ${file} is missing: put it back from your backup, or move the data directory away to start empty.`,
    )
  const password = randomBytes(24).toString('base64url')
  await writeFile(file, `${password}\n`, { mode: 0o600, flag: 'wx' })
  return password
}

/** Made beside its place and renamed, so that an interrupted initdb leaves nothing that looks like data. */
export async function createData(site: Site): Promise<void> {
  await rmdir(site.dataDir).catch(() => undefined) // only an empty one goes
  const fresh = `${site.dataDir}.new`
  await rm(fresh, { recursive: true, force: true })
  await mkdir(fresh, { mode: 0o700 })
  await site.account.own(fresh)
  const secret = await mkdtemp(join(tmpdir(), 'flovify-initdb-'))
  try {
    const passwordFile = join(secret, 'password')
    await writeFile(passwordFile, site.password, { mode: 0o600 })
    await site.account.own(passwordFile)
    await site.account.own(secret)
    const { code, output } = await runToEnd(site, site.binaries.initdb, [
      `--pgdata=${fresh}`,
      `--username=${USER}`,
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      '--locale=C',
      '--no-instructions',
    ])
    if (code !== 0)
      throw new StartError('postgres_failed', `initdb could not make ${site.dataDir}: ${lastLine(output)}`)
    await rename(fresh, site.dataDir).catch((cause: unknown) => {
      throw new StartError(
        'data_directory',
        `${site.dataDir} exists but holds no PostgreSQL data: move it away and start again.`,
        { cause },
      )
    })
  } finally {
    await rm(secret, { recursive: true, force: true })
  }
}

async function runToEnd(
  site: Site,
  program: string,
  args: string[],
): Promise<{ code: number | null; output: string }> {
  const { file, args: all, identity } = site.account.command(program, args)
  const child = spawn(file, all, {
    ...identity,
    cwd: '/',
    env: cleanEnvironment(),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-8_192)
    })
  const code = await new Promise<number | null>((done, fail) => {
    child.once('error', fail)
    child.once('close', done)
  })
  return { code, output }
}

/** No `PG…` variable of the person's shell may reach the server; messages come in English. */
export function cleanEnvironment(): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' }
}

export function lastLine(text: string): string {
  return (
    text
      .trim()
      .split('\n')
      .at(-1)
      ?.replace(/^.*(FATAL|ERROR): +/, '') || 'it said nothing'
  )
}
