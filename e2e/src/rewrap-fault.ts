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
import { embedDatabase } from '../../local/src/database.ts'
import type { FaultResult, Print } from './faults.ts'
import { expireSome, findBroken, openRun, refreshedRows, rowsOn } from './rotation-rows.ts'
import { openRotationWorld, type RotationWorld } from './rotation-world.ts'
import { seedTokens } from './seed-tokens.ts'
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
  // PostgreSQL may end before its idle connections do
  db.on('error', () => undefined)
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
    const refreshed = world.refreshes()
    const written = await refreshedRows(db)
    expect(
      written > 0 && refreshed >= written,
      `${refreshed} refreshes met it, ${written} rows have what they brought`,
    )
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
        refreshesMeanwhile: refreshed,
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
