/**
 * A disk for PostgreSQL that can be full: a small file system in memory with a file of somebody else on it, where this
 * account may mount one; elsewhere a limit on the size of every file that PostgreSQL writes. Both refuse real writes.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { EmbeddedDatabase } from '../../local/src/database.ts'
import { childrenOf } from './kill-postgres.ts'

export interface SmallDisk {
  readonly kind: 'file_system' | 'limit'
  /** For the data of PostgreSQL. */
  readonly directory: string
  fill(database: EmbeddedDatabase): Promise<void>
  free(database: EmbeddedDatabase): Promise<void>
  close(): Promise<void>
}

const SIZE_MIB = 512
/** What is left when it is full: less than a segment of the log. */
const LEFT_BYTES = 1024 * 1024
/** Above a segment of PostgreSQL's log (16 MiB), which is written to its end. */
const LIMIT_BYTES = 17 * 1024 * 1024

/** @param kind as wanted; the limit where nothing can be mounted */
export async function openSmallDisk(kind: SmallDisk['kind'] = 'file_system'): Promise<SmallDisk> {
  const directory = await mkdtemp(join(tmpdir(), 'flovify-disk-'))
  const mounted =
    kind === 'file_system' &&
    spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${SIZE_MIB}m,mode=755`, 'tmpfs', directory]).status === 0
  return mounted ? fileSystem(directory) : limited(directory)
}

function fileSystem(directory: string): SmallDisk {
  const ballast = join(directory, 'of-somebody-else')
  return {
    kind: 'file_system',
    directory,
    async fill() {
      let bytes = 0
      const block = Buffer.alloc(LEFT_BYTES)
      try {
        for (;;) {
          await writeFile(ballast, block, { flag: 'a' })
          bytes += block.length
        }
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error
      }
      // the last write may have gone in part
      await truncate(ballast, Math.max(0, bytes - LEFT_BYTES))
    },
    free: () => rm(ballast, { force: true }),
    async close() {
      execFileSync('umount', ['-l', directory])
      await rm(directory, { recursive: true, force: true })
    },
  }
}

function limited(directory: string): SmallDisk {
  const limit = ({ pid }: EmbeddedDatabase, bytes: string) => {
    for (const one of [pid, ...childrenOf(pid)])
      spawnSync('prlimit', ['--pid', String(one), `--fsize=${bytes}:`], { stdio: 'ignore' })
    return Promise.resolve()
  }
  return {
    kind: 'limit',
    directory,
    fill: (database) => limit(database, String(LIMIT_BYTES)),
    free: (database) => limit(database, 'unlimited'),
    close: () => rm(directory, { recursive: true, force: true }),
  }
}
