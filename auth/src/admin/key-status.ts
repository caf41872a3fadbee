/** What the ring looks like now, for a person: keys, processes, a rewrap under way. Reads only; prints no key. */
import { openKeyRing } from '../vault/key-ring.ts'
import { findOpenRun } from '../vault/rewrap-store.ts'
import { holds } from '../vault/rotation.ts'
import {
  countRowsByKey,
  countSubscriptionsOf,
  findKeyRows,
  findLiveProcesses,
  type KeyRow,
} from '../vault/rotation-store.ts'
import type { ExitCode, Place } from './command.ts'

/** It answers also where a key is missing or wrong: that is when it is asked. */
export async function keyStatus(place: Place): Promise<ExitCode> {
  const { db, config } = place
  const configured = [...config.keys.keys()]
  const ring = openKeyRing(config.keys, configured[0] ?? '')
  const keys = await findKeyRows(db)
  const rows = await countRowsByKey(db)
  for (const key of keys) {
    const here = !ring.keyIds.includes(key.key_id)
      ? 'NOT HERE'
      : holds(ring, key)
        ? 'here'
        : 'OTHER BYTES HERE'
    const ofKey = rows.filter((row) => row.key === key.key_id).map((row) => `${row.table} ${row.rows}`)
    place.say(
      `${key.key_id.padEnd(17)}${statusOf(key).padEnd(10)}${here.padEnd(17)} ${ofKey.join(', ') || 'no rows'}`,
    )
    const subscriptions = await countSubscriptionsOf(db, key.key_id)
    if (subscriptions !== undefined && subscriptions.count > 0)
      place.say(
        `${''.padEnd(17)}${subscriptions.count} subscriptions at providers, until ${subscriptions.until?.toISOString() ?? 'they are ended'}`,
      )
  }
  for (const id of configured.filter((known) => !keys.some((key) => key.key_id === known)))
    place.say(
      `${id.padEnd(17)}${'new'.padEnd(10)}here              no process of the service has reported it`,
    )

  const live = await findLiveProcesses(db)
  place.say('')
  place.say(live.length === 0 ? 'No process of the service is running.' : 'Live processes:')
  for (const process of live)
    place.say(
      `  ${process.id.slice(0, 8)}  ${process.role.padEnd(5)} ${process.version}  holds ${process.key_ids.join(' ')}, seals with ${process.sealing_with}, seen ${Math.round(process.seen_seconds)} s ago`,
    )

  const run = await findOpenRun(db)
  if (run === undefined) return 0
  place.say('')
  place.say(
    `Rewrap (${run.kind === 'wrap' ? 'data keys wrapped anew' : 'new data keys'}) to ${run.key_id}: ${run.done} of ${run.total}${
      run.moved_seconds > INTERRUPTED_SECONDS
        ? `; INTERRUPTED ${Math.round(run.moved_seconds)} s ago: npm run admin -- keys rewrap${run.kind === 'wrap' ? '' : ' --new-data-keys'}`
        : ', under way'
    }`,
  )
  return 0
}

/** A batch never takes that long, whatever the rate. */
const INTERRUPTED_SECONDS = 10

function statusOf(key: KeyRow): string {
  if (key.status !== 'decrypt') return key.status
  return key.first_primary_at === null ? 'usable' : 'retiring'
}
