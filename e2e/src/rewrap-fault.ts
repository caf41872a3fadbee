/**
 * TV-05: a whole key rotation under load, by the operator's own commands on two real processes: K1 is added, promoted,
 * rewrapped with a `kill -9` of the rewrapping process in the middle, and K0 disabled; then all data keys are replaced,
 * as after a leak, with a second kill. Tokens are read all the time, and some expire all the time, so that refreshes
 * meet the rewrap.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { openKeyRing } from '../../auth/src/vault/key-ring.ts'
import { openVault } from '../../auth/src/vault/vault.ts'
import { embedDatabase } from '../../local/src/database.ts'
import type { FaultResult, Print } from './faults.ts'
import { openRotationWorld, type RotationWorld } from './rotation-world.ts'
import { refreshTokenOf, seedTokens, tokenOf } from './seed-tokens.ts'
import { startTokenLoad } from './token-load.ts'

export interface RewrapFault {
  /** Migrated, or empty. */
  readonly databaseUrl: string
  /** For log files. */
  readonly directory: string
  readonly connections: number
  readonly readsPerSecond: number
  /** --rate of the rewraps. */
  readonly rate: number
  readonly expiredPerSecond: number
}

/** The long form, on an embedded PostgreSQL of its own. */
export async function rewrapAtSize(print: Print): Promise<FaultResult> {
  const directory = await mkdtemp(join(tmpdir(), 'flovify-rewrap-'))
  try {
    const database = await embedDatabase(directory, directory)
    try {
      return await rewrapUnderLoad(
        {
          databaseUrl: database.url,
          directory,
          connections: 100_000,
          readsPerSecond: 200,
          rate: 2_000,
          expiredPerSecond: 10,
        },
        print,
      )
    } finally {
      await database.stop()
    }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/** The whole rotation, step by step; every sentence of the result that did not hold is a problem. */
export async function rewrapUnderLoad(fault: RewrapFault, print: Print): Promise<FaultResult> {
  const problems: string[] = []
  const expect = (held: boolean, sentence: string) => {
    if (!held) problems.push(sentence)
    print(`${held ? 'ok' : 'PROBLEM'}: ${sentence}`)
  }
  const world = await openRotationWorld(fault.databaseUrl, fault.directory)
  const db = new pg.Pool({ connectionString: fault.databaseUrl, max: 2 })
  try {
    await world.start(0)
    await world.start(1)
    const k0 = Buffer.from(world.k0, 'base64url')
    const ids = await seedTokens({
      databaseUrl: fault.databaseUrl,
      keys: new Map([['k0', k0]]),
      count: fault.connections,
    })
    print(`${ids.length} connections under k0; reading ${fault.readsPerSecond} tokens a second`)
    const load = startTokenLoad({
      origins: world.origins,
      serviceSecret: world.serviceSecret,
      connectionIds: ids,
      perSecond: fault.readsPerSecond,
    })
    const expiring = expireSome(db, ids, fault.expiredPerSecond)
    const restart = async (which: 0 | 1, ring: string) => {
      await load.takeOut(world.origins[which])
      await world.start(which, ring)
      load.putBack(world.origins[which])
    }

    load.phase('add')
    const added = await world.admin(undefined, 'keys', 'add')
    const ring = added.output.split('\n')[0] ?? ''
    expect(added.code === 0 && ring.startsWith('k1:'), 'keys add prints a key k1')
    await restart(0, ring)
    const early = await world.admin(ring, 'keys', 'promote', 'k1')
    expect(
      early.code === 1 && early.output.includes('not configured in every live process'),
      'promote is refused while one process lacks the key',
    )
    await restart(1, ring)
    load.phase('promote')
    const promoted = await world.admin(ring, 'keys', 'promote', 'k1')
    expect(promoted.code === 0, 'promote: every process has the key')

    const wrap = await interrupted(world, db, ring, load.phase, ['--rate', String(fault.rate)])
    expect(
      wrap.doneAtKill > 0 && wrap.doneAtKill < fault.connections,
      `kill -9 of the rewrap after ${wrap.doneAtKill} of ${fault.connections} rows`,
    )
    expect(wrap.movedAtKill === wrap.doneAtKill, 'what the row of the run says is what was moved')
    const tooEarly = await world.admin(ring, 'keys', 'disable', 'k0')
    expect(
      tooEarly.code === 1 && tooEarly.output.includes('Rows still name'),
      'disable is refused: rows name k0',
    )
    load.phase('rewrap again')
    const again = await world.admin(ring, 'keys', 'rewrap', '--rate', String(fault.rate))
    const goneOn = Number(/Going on after (\d+)/.exec(again.output)?.[1])
    expect(again.code === 0 && goneOn === wrap.doneAtKill, `the rewrap goes on after ${goneOn} and ends`)
    const left = await rowsOn(db, 'k0')
    expect(left === 0, `${left} rows are left on k0`)
    const disabled = await world.admin(ring, 'keys', 'disable', 'k0')
    expect(disabled.code === 0, 'disable: nothing names k0')
    load.phase('k0 disabled')
    await sleep(4_000)

    const remake = ['--new-data-keys', '--rate', String(fault.rate)]
    const renewed = await interrupted(world, db, ring, load.phase, remake)
    expect(
      renewed.doneAtKill > 0 && renewed.doneAtKill < fault.connections,
      `kill -9 of the rewrap with new data keys after ${renewed.doneAtKill} rows`,
    )
    load.phase('new data keys again')
    const finished = await world.admin(ring, 'keys', 'rewrap', ...remake)
    expect(finished.code === 0 && finished.output.includes('Going on after'), 'it goes on and ends')
    await sleep(1_000)
    await expiring.stop()
    const sums = await load.stop()
    expect(
      sums.failed === 0,
      `${sums.failed} of ${sums.reads} reads failed ${sums.failures.slice(0, 3).join('; ')}`,
    )
    expect(sums.perSecond >= fault.readsPerSecond * 0.95, `${sums.perSecond} reads a second were sent`)
    const status = await world.admin(ring, 'keys', 'status')
    expect(/^k0 +disabled .*no rows$/m.test(status.output), 'keys status: k0 is disabled and has no rows')
    const broken = await findBroken(db, ring)
    expect(broken === 0, `${broken} of ${ids.length} rows do not open with k1 alone`)
    return {
      problems,
      figures: {
        connections: ids.length,
        reads: sums,
        rate: fault.rate,
        killedAfter: wrap.doneAtKill,
        killedWithNewDataKeysAfter: renewed.doneAtKill,
        rowsOnK0: left,
        refreshesMeanwhile: world.refreshes(),
        broken,
      },
    }
  } finally {
    await db.end()
    await world.close()
  }
}

/** Starts a rewrap and kills it by SIGKILL when 40 % are done. */
async function interrupted(
  world: RotationWorld,
  db: pg.Pool,
  ring: string,
  phase: (name: string) => void,
  options: readonly string[],
): Promise<{ doneAtKill: number; movedAtKill: number }> {
  phase(`rewrap ${options[0]}`)
  const child = world.startAdmin(ring, 'keys', 'rewrap', ...options)
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  for (;;) {
    const run = await openRun(db)
    if (child.exitCode !== null || (run !== undefined && run.done >= run.total * 0.4)) break
    await sleep(20)
  }
  child.kill('SIGKILL')
  await ended
  phase('killed')
  await db.query('select 1')
  return { doneAtKill: (await openRun(db))?.done ?? -1, movedAtKill: await rowsOn(db, 'k1') }
}

async function openRun(db: pg.Pool): Promise<{ done: number; total: number } | undefined> {
  const { rows } = await db.query<{ done: number; total: number }>(
    'select done::int, total::int from auth.rewraps where ended_at is null',
  )
  return rows[0]
}

async function rowsOn(db: pg.Pool, keyId: string): Promise<number> {
  const { rows } = await db.query<{ count: number }>(
    "select count(*)::int count from auth.oauth_tokens where split_part(data_key, '.', 2) = $1 and data_key <> ''",
    [keyId],
  )
  return rows[0]?.count ?? -1
}

/** Lets some tokens be nearly over, ever again: the next read, or the worker, refreshes them. */
function expireSome(db: pg.Pool, ids: readonly string[], perSecond: number) {
  let stopped = false
  const running = (async () => {
    while (!stopped) {
      const some = Array.from({ length: perSecond }, () => ids[Math.floor(Math.random() * ids.length)])
      await db.query(
        `with over as (
           update auth.oauth_tokens set expires_at = auth.clock() + interval '50 s' where id = any ($1::text[]) returning id
         )
         update auth.refreshes r set due_at = auth.clock() from over where r.id = over.id and r.lease_id is null`,
        [some],
      )
      await sleep(1_000)
    }
  })()
  return {
    stop: async () => {
      stopped = true
      await running
    },
  }
}

/** Rows whose tokens do not open with the ring's second key alone, or are not the ones that were sealed. */
async function findBroken(db: pg.Pool, ring: string): Promise<number> {
  const k1 = Buffer.from(ring.split(':')[1] ?? '', 'base64url')
  const vault = openVault(openKeyRing(new Map([['k1', k1]]), 'k1'))
  const { rows } = await db.query<
    Record<'id' | 'owner_id' | 'data_key' | 'access_token' | 'refresh_token', string>
  >('select id, owner_id, data_key, access_token, refresh_token from auth.oauth_tokens')
  return rows.filter((row) => {
    try {
      const context = {
        purpose: 'oauth_tokens',
        owner: row.owner_id,
        row: row.id,
        provider: 'google',
      } as const
      const key = vault.open(row.data_key, context)
      return (
        key.unseal('access_token', row.access_token).reveal() !== tokenOf(row.id) ||
        key.unseal('refresh_token', row.refresh_token).reveal() !== refreshTokenOf(row.id)
      )
    } catch {
      return true
    }
  }).length
}
