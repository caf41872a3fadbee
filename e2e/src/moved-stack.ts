/** The whole system of real processes with one person and both accounts connected, on clocks that are moved together. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { Browserless } from '../../local/src/browserless.ts'
import { type Stack, startStack } from '../../local/src/stack.ts'
import { askSimulators } from './control.ts'

export interface MovedStack {
  readonly stack: Stack
  readonly db: pg.Client
  /** Of the simulators; without a body it reads. @throws with what they answered unless it is 2xx */
  control(
    path: string,
    body?: unknown,
  ): Promise<{ readonly pushes?: readonly { readonly status: number | null }[] }>
  /** Everybody's time at once. */
  advance(ms: number): Promise<void>
  close(): Promise<void>
}

const PATIENCE_MS = 30_000

/** @param environment of Auth, beyond what the stack sets */
export async function openMovedStack(
  environment: Readonly<Record<string, string>> = {},
): Promise<MovedStack> {
  const directory = await mkdtemp(join(tmpdir(), 'flovify-moved-'))
  const stack = await startStack({ dataDir: join(directory, 'data'), environment })
  const db = new pg.Client({ connectionString: stack.database.url })
  await db.connect()
  const alice = new Browserless(stack)
  await alice.signIn(await stack.signinUrl('alice@example.com', 'user'))
  await alice.connect('microsoft', 'adele@contoso.test')
  await alice.connect('google', 'gita@flow.test')

  const control: MovedStack['control'] = (path, body) => askSimulators(stack, path, body)
  return {
    stack,
    db,
    control,
    async advance(ms) {
      await control('/clock', { advanceMs: ms })
      await db.query('update auth.clock_offset set offset_ms = offset_ms + $1', [ms])
      await db.query(
        `select auth.ensure_days((auth.clock() at time zone 'UTC')::date - 1, (auth.clock() at time zone 'UTC')::date + 7)`,
      )
      await stack.auth.restart()
    },
    async close() {
      await db.end()
      await stack.stop()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

/** Reads again until it holds. @throws with what was read last */
export async function waitFor<T>(
  what: string,
  read: () => Promise<T>,
  holds: (value: T) => boolean,
): Promise<T> {
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; await new Promise((r) => setTimeout(r, 100))) {
    const value = await read()
    if (holds(value)) return value
  }
  throw new Error(`waited in vain: ${what} ${JSON.stringify(await read())}`)
}
