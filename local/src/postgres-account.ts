/**
 * Under which operating-system account PostgreSQL runs. It refuses to run as root, so a supervisor that is root
 * hands it to the owner of the data directory, or to `nobody` for new data. It never changes the account of data
 * that already belongs to somebody other than root.
 */

import { spawnSync } from 'node:child_process'
import { chown, lchown, readdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { StartError } from './start-error.ts'

/** `nobody` and `nogroup` on Linux. */
const NOBODY = 65_534

/** Puts a program and its arguments into the form that runs it under the chosen account. */
export interface Account {
  readonly uid: number
  readonly command: (program: string, args: readonly string[]) => Command
  /** Gives a file or a whole directory to the account; does nothing when we are that account ourselves. */
  readonly own: (path: string) => Promise<void>
}

export interface Command {
  readonly file: string
  readonly args: string[]
  readonly identity: { uid?: number; gid?: number }
}

/**
 * Chooses the account for a data directory that may not exist yet.
 *
 * @param dataDir absolute path of the data directory; its parent must exist
 * @param programs paths that the account must be able to reach
 * @throws StartError `data_directory` when the account cannot reach what it needs
 */
export async function chooseAccount(dataDir: string, programs: readonly string[]): Promise<Account> {
  const own = process.getuid?.() ?? NOBODY
  const owner = await ownerOf(dataDir)
  if (own !== 0) {
    if (owner !== undefined && owner.uid !== own)
      throw new StartError(
        'data_directory',
        `The data in ${dataDir} belongs to another account (uid ${owner.uid}): start as that account or as root, or give the data to yours with chown -R.`,
      )
    const command = (file: string, args: readonly string[]) => ({ file, args: [...args], identity: {} })
    return { uid: own, command, own: async () => undefined }
  }

  const { uid, gid } = owner === undefined || owner.uid === 0 ? { uid: NOBODY, gid: NOBODY } : owner
  const give = (path: string) => giveTo(path, uid, gid)
  const setpriv = setprivArguments(uid, gid)
  if (spawnSync('setpriv', [...setpriv, 'true'], { stdio: 'ignore' }).status === 0) {
    const command = (program: string, args: readonly string[]) => ({
      file: 'setpriv',
      args: [...setpriv, program, ...args],
      identity: {},
    })
    return { uid, command, own: give }
  }

  for (const path of [dirname(dataDir), ...programs.map((program) => dirname(program))])
    await checkReachable(path, uid)
  const command = (file: string, args: readonly string[]) => ({
    file,
    args: [...args],
    identity: { uid, gid },
  })
  return { uid, command, own: give }
}

/**
 * `setpriv` (util-linux) keeps one capability over the change of account: `dac_override`, so that the data may lie
 * below a directory that only root can enter, such as a checkout in `/root`. Without it the account could not even
 * reach its own directory. The process still cannot change accounts, mount, or signal others.
 */
function setprivArguments(uid: number, gid: number): string[] {
  return [
    `--reuid=${uid}`,
    `--regid=${gid}`,
    '--clear-groups',
    // access(2) ignores the capability of an account that is not root unless this bit is set; initdb asks it
    // whether `postgres` lies beside it, which fails in a closed checkout. The next exec drops everything else.
    '--securebits=+no_setuid_fixup',
    '--inh-caps=+dac_override',
    '--ambient-caps=+dac_override',
  ]
}

async function ownerOf(path: string): Promise<{ uid: number; gid: number } | undefined> {
  try {
    const { uid, gid } = await stat(path)
    return { uid, gid }
  } catch (error) {
    if (isMissing(error)) return undefined
    throw new StartError('data_directory', `The data directory ${path} cannot be read: ${reason(error)}.`)
  }
}

async function giveTo(path: string, uid: number, gid: number): Promise<void> {
  const info = await stat(path)
  if (info.uid === uid) return
  await chown(path, uid, gid)
  if (!info.isDirectory()) return
  for (const entry of await readdir(path, { recursive: true })) await lchown(join(path, entry), uid, gid)
}

async function checkReachable(path: string, uid: number): Promise<void> {
  for (let at = path; ; at = dirname(at)) {
    const info = await stat(at)
    const open = (info.mode & 0o001) !== 0 || (info.uid === uid && (info.mode & 0o100) !== 0)
    if (!open)
      throw new StartError(
        'data_directory',
        `PostgreSQL cannot run as root, and the account it would run as cannot enter ${at}: install setpriv (util-linux), start as an ordinary user, or move the checkout.`,
      )
    if (at === dirname(at)) return
  }
}

export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}

export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
