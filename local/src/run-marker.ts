/**
 * The ports of a start: all free, or one sentence. A marker in the data directory tells whether the last run ended
 * in order; after a `kill -9` its processes end by themselves (leash.ts), and their ports are waited for.
 */

import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isPortFree } from './free-port.ts'
import { isRunning } from './postmaster.ts'
import { type PortName, type Ports, portVariable } from './settings.ts'
import { StartError } from './start-error.ts'

const DRAIN_PATIENCE_MS = 20_000

export interface RunMarker {
  /** To be called when everything has ended in order. */
  remove(): Promise<void>
}

/**
 * @param names the ports that this start really uses
 * @throws StartError `port_taken` or `already_running`
 */
export async function claimPorts(
  dataDir: string,
  ports: Ports,
  names: readonly PortName[],
  onProgress: (line: string) => void,
): Promise<RunMarker> {
  const file = join(dataDir, 'run.json')
  const previous = await readMarker(file)
  const wasKilled = previous !== undefined && previous !== process.pid && !isRunning(previous)
  let taken = await firstTaken(ports, names)
  if (taken !== undefined && wasKilled) {
    onProgress('Waiting for the processes of the last run, which was killed, to end')
    for (
      const end = Date.now() + DRAIN_PATIENCE_MS;
      taken !== undefined && Date.now() < end;
      await sleep(100)
    )
      taken = await firstTaken(ports, names)
  }
  if (taken !== undefined) {
    const variable = portVariable(taken)
    throw new StartError(
      'port_taken',
      `Port ${ports[taken]} is taken by another process: stop it, or choose another port with ${variable} (${variable}=${ports[taken] + 100} npm start).`,
    )
  }
  await writeFile(file, JSON.stringify({ pid: process.pid }), { mode: 0o600 })
  return { remove: () => rm(file, { force: true }) }
}

async function firstTaken(ports: Ports, names: readonly PortName[]): Promise<PortName | undefined> {
  for (const name of names) if (!(await isPortFree(ports[name]))) return name
  return undefined
}

async function readMarker(file: string): Promise<number | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(file, 'utf8'))
    const pid: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, 'pid') : undefined
    return typeof pid === 'number' ? pid : undefined
  } catch {
    return undefined
  }
}
