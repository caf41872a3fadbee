/**
 * Erases a user: all connections are disconnected, sessions and open flows end at once; events, deliveries, attempts and
 * notifications go in small steps by a due row; the connections' own rows go when their providers have been told. Who
 * asks again gets the same receipt with its progress. Users that vanished from `auth.users` are treated alike. The
 * platform's own row of the user is the platform's.
 */
import { audit } from '../audit/audit.ts'
import type { Transaction } from '../db/sql.ts'
import { newId, sha256 } from '../platform/ids.ts'
import type { Log } from '../platform/log.ts'
import { dueIn } from '../work/due.ts'
import type { DueRow, WorkKind } from '../work/work.ts'
import { type DisconnectNeeds, end, ended } from './disconnect.ts'
import {
  addCounts,
  connectionsOfOwner,
  deleteConnections,
  deleteSomeEvents,
  endPresence,
  findErasure,
  findReceipt,
  findVanished,
  forgetInAudit,
  insertErasure,
  type Receipt,
  settleErasure,
} from './erasure-store.ts'
import { lockToEnd } from './store.ts'

export type { Receipt } from './erasure-store.ts'

export const ERASURES = 'erasures'
/** A provider that is down is asked again by its own due row; this one only looks whether that has ended. */
const LOOK_AGAIN_SECONDS = 5

/**
 * @param actor who asks, for the audit
 * @returns the receipt; `unknown` when the service has never held anything of this user
 */
export async function eraseUser(
  needs: DisconnectNeeds,
  actor: string,
  userId: string,
  reason: 'requested' | 'vanished' = 'requested',
): Promise<{ readonly kind: 'receipt'; readonly receipt: Receipt } | { readonly kind: 'unknown' }> {
  const ownerHash = sha256(`owner ${userId}`)
  const done = await needs.db.transaction(async (tx) => {
    const connections = await connectionsOfOwner(tx, userId)
    const present = await endPresence(tx, userId)
    if (connections.length + present === 0 && (await findReceipt(tx, ownerHash)) === undefined)
      return undefined
    if (await insertErasure(tx, { id: newId('era'), ownerHash, ownerId: userId, reason }))
      await audit(tx, {
        actor,
        action: 'user.erased',
        subject: ownerHash.toString('base64url'),
        detail: { reason },
      })
    for (const { id } of connections) await endOne(needs, tx, id, actor)
    return connections
  })
  if (done === undefined) return { kind: 'unknown' }
  for (const { id } of done) ended(needs, id)
  needs.nudge.nudge(ERASURES)
  const receipt = await findReceipt(needs.db, ownerHash)
  return receipt === undefined ? { kind: 'unknown' } : { kind: 'receipt', receipt }
}

async function endOne(needs: DisconnectNeeds, tx: Transaction, id: string, actor: string): Promise<void> {
  const row = await lockToEnd(tx, id)
  if (row !== undefined) await end(needs, tx, row, actor, 'us', 'user_erased')
}

export interface ErasureNeeds extends DisconnectNeeds {
  readonly log: Log
}

export function erasureWork(needs: ErasureNeeds): WorkKind<DueRow> {
  return {
    name: ERASURES,
    leaseSeconds: 60,
    batch: 2,
    concurrency: 2,
    ...dueIn('auth.erasures'),
    run: (row, signal) => erase(needs, row, signal),
    poison: async (db, row) => {
      needs.log.error(
        { erasure: row.id },
        'erasing a user ended the process several times; it rests for an hour',
      )
      await settleErasure(db, row, 3_600)
    },
  }
}

async function erase(needs: ErasureNeeds, due: DueRow, signal: AbortSignal): Promise<void> {
  const erasure = await findErasure(needs.db, due)
  if (erasure === undefined) return
  // Each step is one transaction, so a kill costs at most one step.
  while (!signal.aborted) {
    const counts = await needs.db.transaction(async (tx) => {
      const step = await deleteSomeEvents(tx, erasure.owner_id)
      return (await addCounts(tx, due, step)) ? step : undefined
    })
    if (counts === undefined) return
    if (Object.values(counts).every((count) => count === 0)) break
  }
  if (signal.aborted) return
  await needs.db.transaction(async (tx) => {
    const gone = await deleteConnections(tx, erasure.owner_id)
    const counts = { connections: gone.connections.length, dedupe_keys: gone.dedupeKeys }
    if (!(await addCounts(tx, due, counts)))
      throw Object.assign(new Error('lease lost'), { code: 'lease_lost' })
    // Who keeps something about a connection of ours learns that it is gone: by its random id, and nothing of its user.
    await needs.ledger.record(
      tx,
      gone.connections.map((connection) => ({
        type: 'connection.v1.deleted',
        area: 'lifecycle' as const,
        provider: connection.provider,
        subject: `connections/${connection.id}`,
        data: { connection, erasure: erasure.id },
      })),
    )
    const left = await connectionsOfOwner(tx, erasure.owner_id)
    // A connection that is still ending at its provider still records events.
    if (left.length > 0) {
      await settleErasure(tx, due, LOOK_AGAIN_SECONDS)
      return
    }
    await forgetInAudit(tx, erasure.owner_id)
    await settleErasure(tx, due, null)
  })
  needs.log.info({ erasure: erasure.id }, 'a user’s data was looked through and deleted')
}

/** A chore's: users that the platform deleted without telling us. */
export async function sweepVanished(needs: DisconnectNeeds): Promise<void> {
  for (const { owner_id } of await findVanished(needs.db))
    await eraseUser(needs, 'system', owner_id, 'vanished')
}
