/**
 * Whether this process can serve: the database answers and keeps what it acknowledges. Asked at start, on every probe and
 * by itself each minute, since nobody may probe; a change is said in the log once. In local mode the clock's offset is
 * followed each second. In production an unsafe database or a moved clock is a reason not to start at all.
 */
import type { OffsetClock } from '../platform/clock.ts'
import { errorFields, type Log } from '../platform/log.ts'
import { type Durability, readDurability } from './durability.ts'
import type { Db } from './sql.ts'
import { sql } from './sql.ts'

export interface Readiness {
  /** Fixed sentences; empty when ready. */
  reasons(): Promise<readonly string[]>
  /** From now on this process is not ready: it ends. */
  drain(): void
}

export interface ReadinessNeeds {
  readonly db: Db
  readonly clock: OffsetClock
  readonly mode: 'production' | 'local'
  readonly log: Log
}

const FOLLOW_MS = 1_000
const DURABILITY_MS = 60_000

/** @throws an error with a `safe` message when production must not start on this database */
export async function openReadiness(needs: ReadinessNeeds): Promise<Readiness> {
  const durability = await readDurability(needs.db)
  const offset = await followClock(needs)
  if (needs.mode === 'production') {
    if (durability.kind === 'not_durable')
      throw refused(
        `this database would lose what was acknowledged (${durability.reasons.join(', ')}): correct its settings`,
      )
    if (offset !== 0) throw refused('auth.clock_offset is not 0: a moved clock is for tests only')
  }
  const following =
    needs.mode === 'local'
      ? setInterval(() => void followClock(needs).catch(() => undefined), FOLLOW_MS)
      : undefined
  // a local database that is unsafe from the start is said once, too
  let said = ''
  const tell = (found: Durability) => {
    const now = found.kind === 'durable' ? '' : found.reasons.join(', ')
    if (now === said) return
    said = now
    if (found.kind === 'durable') needs.log.info({}, 'the database keeps what it acknowledges again')
    else
      needs.log.error({ reasons: now }, 'the database would lose what was acknowledged: correct its settings')
  }
  tell(durability)
  /** @returns reasons not to be ready */
  const look = async (): Promise<readonly string[]> => {
    try {
      const found = await readDurability(needs.db)
      tell(found)
      return found.kind === 'durable' ? [] : found.reasons
    } catch (error) {
      needs.log.warn(errorFields(error), 'the database does not answer the readiness check')
      return ['the database does not answer']
    }
  }
  const looking = setInterval(() => void look(), DURABILITY_MS)
  let draining = false
  return {
    async reasons() {
      return draining ? ['this process is ending'] : look()
    },
    drain() {
      draining = true
      clearInterval(following)
      clearInterval(looking)
    },
  }
}

async function followClock(needs: ReadinessNeeds): Promise<number> {
  const row = await needs.db.one<{ offset_ms: string }>(sql`select offset_ms from auth.clock_offset`)
  const offset = Number(row?.offset_ms ?? 0)
  needs.clock.follow(offset)
  return offset
}

const refused = (message: string) =>
  Object.assign(new Error(message), { code: 'unsafe_database', safe: true })
