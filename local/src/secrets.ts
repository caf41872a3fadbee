/**
 * The secrets that local mode makes for itself on the first start and keeps in one file with mode 600 beside the
 * data they belong to. A value that the person sets in the environment wins and is not written down. It never prints
 * or overwrites a secret.
 */

import { randomBytes } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { isMissing } from './postgres-account.ts'
import type { Environment } from './settings.ts'
import { StartError } from './start-error.ts'

export interface LocalSecrets {
  /** 32 bytes in URL-safe base64 with padding, the form of Fernet's key generator. */
  readonly encryptionKey: string
  readonly serviceSecret: string
  /** What the simulators expect of us. */
  readonly microsoftClientSecret: string
  readonly googleClientSecret: string
}

/** @throws StartError `secrets_file` when the file cannot be read or is damaged */
export async function keepSecrets(file: string, environment: Environment): Promise<LocalSecrets> {
  const kept = (await readSecrets(file)) ?? (await makeSecrets(file))
  return {
    ...kept,
    encryptionKey: environment.ENCRYPTION_KEY || kept.encryptionKey,
    serviceSecret: environment.SERVICE_SECRET || kept.serviceSecret,
  }
}

async function makeSecrets(file: string): Promise<LocalSecrets> {
  const secret = () => randomBytes(32).toString('base64url')
  const secrets: LocalSecrets = {
    encryptionKey: `${secret()}=`,
    serviceSecret: secret(),
    microsoftClientSecret: secret(),
    googleClientSecret: secret(),
  }
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, `${JSON.stringify(secrets, null, 2)}\n`, { mode: 0o600, flag: 'wx' })
  return secrets
}

async function readSecrets(file: string): Promise<LocalSecrets | undefined> {
  let content: string
  try {
    content = await readFile(file, 'utf8')
  } catch (error) {
    if (isMissing(error)) return undefined
    throw new StartError('secrets_file', `The secrets in ${file} cannot be read by this account.`)
  }
  const secrets = parse(content)
  if (secrets === undefined)
    throw new StartError(
      'secrets_file',
      `The secrets in ${file} are damaged: put the file back from your backup, or move it and the data away to start empty.`,
    )
  return secrets
}

function parse(content: string): LocalSecrets | undefined {
  try {
    const value: unknown = JSON.parse(content)
    return isSecrets(value) ? value : undefined
  } catch {
    return undefined
  }
}

function isSecrets(value: unknown): value is LocalSecrets {
  const names = ['encryptionKey', 'serviceSecret', 'microsoftClientSecret', 'googleClientSecret']
  return (
    typeof value === 'object' &&
    value !== null &&
    names.every((name) => typeof Reflect.get(value, name) === 'string' && Reflect.get(value, name) !== '')
  )
}
