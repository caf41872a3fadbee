/**
 * `auth.refresh_pace` and `auth.provider_alarms`: one row of turns for each provider, taken by workers and readers of all
 * processes alike, and what the operator has to repair. A turn is a moment at which one refresh may begin. Never looks at
 * a connection.
 *
 * Turns are spaced so that a second holds four fifths of `per_second`: what begins within 1.25 s and is delayed by up to
 * a quarter of a second on its way still arrives within the limit. A row that lies further ahead than turns are ever
 * given was written before the clock went back, and counts as free.
 */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'

/** One failure is an accident, five without any success between them are the provider. */
export const DOWN_AFTER = 5
/** How long the provider is left alone at least once it counts as down; a probe keeps others out for as long. */
const LEAST_PAUSE_SECONDS = 5
/** Short against the five minutes within which work must go on after a recovery. */
const MOST_PAUSE_SECONDS = 60
/** Of all connections of a provider; the one that was told so keeps to the whole of it: one throttled tenant silences no other for an hour. */
const MOST_HELD_SECONDS = 300
/** A cause counts as repaired when something succeeded and it has not come back for so long: longer than between two tries. */
const HEALED_AFTER_SECONDS = 600

/** Of a row `p`. */
export const pace = {
  step: sql`make_interval(secs => 1.25 / p.per_second)`,
  freeAt: sql`case when p.next_at > auth.clock() + interval '1 minute' then auth.clock() else greatest(p.next_at, auth.clock()) end`,
  /** Seconds for which nobody gets a turn; 0 when the provider may be asked. */
  heldSeconds: sql`(case when p.held_until <= auth.clock() or p.held_until > auth.clock() + make_interval(secs => ${2 * MOST_HELD_SECONDS})
    then 0 else extract(epoch from p.held_until - auth.clock()) end)::float8`,
  /** Whoever gets a turn while the provider is down is a probe, and alone. */
  heldAfter: sql`case when p.failures >= ${DOWN_AFTER}::int then auth.clock() + make_interval(secs => ${LEAST_PAUSE_SECONDS})
    else p.held_until end`,
  alarmed: sql`exists (select from auth.provider_alarms a where a.provider = p.provider)`,
} as const

/** Makes the rows that are missing. */
export const plantPaces = (db: Db, providers: readonly string[]) =>
  db.rows(
    sql`insert into auth.refresh_pace (provider) select unnest(${providers}::text[]) on conflict do nothing`,
  )

export interface TakenTurn {
  /** Seconds until it begins, counted from the statement. */
  readonly in_seconds: number
  readonly failures: number
  readonly alarmed: boolean
}

/** @returns undefined while the provider is held, or when no turn begins within `waitSeconds` */
export const takeTurn = (db: Db, provider: string, waitSeconds: number) =>
  db.one<TakenTurn>(sql`
    update auth.refresh_pace p
       set next_at = ${pace.freeAt} + ${pace.step}, held_until = ${pace.heldAfter}
     where p.provider = ${provider} and ${pace.heldSeconds} = 0
       and ${pace.freeAt} <= auth.clock() + make_interval(secs => ${waitSeconds})
    returning extract(epoch from p.next_at - ${pace.step} - auth.clock())::float8 in_seconds, p.failures, ${pace.alarmed} alarmed`)

/** Seconds for which the provider is left alone by everybody; 0 when it may be asked. */
export const findHeldSeconds = async (db: Db, provider: string): Promise<number> =>
  (
    await db.one<{ seconds: number }>(
      sql`select ${pace.heldSeconds} seconds from auth.refresh_pace p where p.provider = ${provider}`,
    )
  )?.seconds ?? 0

/** The provider answered something that is no sign of being down: nobody is held any more. */
export const endPause = (db: Db, provider: string) =>
  db.rows(sql`
    update auth.refresh_pace set failures = 0, held_until = '-infinity'
     where provider = ${provider} and failures > 0`)

/**
 * Counts a failure that says "the provider is down", and holds everybody: for what the provider asked, and once it counts
 * as down for a pause that doubles with each failed probe. What was under way together counts as one probe at most.
 * @param random 0 ≤ random < 1
 */
export const countFailure = (
  db: Db,
  failure: { provider: string; probe: boolean; askedSeconds: number; random: number },
) =>
  db.rows(sql`
    with counted as (
      select provider, case when ${failure.probe}::boolean then failures + 1
                            else greatest(failures, least(failures + 1, ${DOWN_AFTER}::int)) end failures
        from auth.refresh_pace where provider = ${failure.provider} for update)
    update auth.refresh_pace p
       set failures = counted.failures,
           held_until = greatest(p.held_until,
             auth.clock() + make_interval(secs => least(${failure.askedSeconds}::float8, ${MOST_HELD_SECONDS})),
             auth.clock() + make_interval(secs => case when counted.failures < ${DOWN_AFTER}::int then 0 else
               least(${MOST_PAUSE_SECONDS}, ${LEAST_PAUSE_SECONDS} * 2 ^ least(counted.failures - ${DOWN_AFTER}::int, 10)) end
               * (0.5 + 0.5 * ${failure.random}::float8)))
      from counted where p.provider = counted.provider`)

/** @returns true when the cause is new: the one who is told so tells the operator */
export const raiseAlarm = async (db: Db, provider: string, code: string): Promise<boolean> =>
  (
    await db.one<{ fresh: boolean }>(sql`
      insert into auth.provider_alarms (provider, code) values (${provider}, ${code})
      on conflict (provider, code) do update set last_at = auth.clock()
      returning (xmax = 0) fresh`)
  )?.fresh === true

/** @returns the causes that are repaired */
export const endAlarms = async (db: Db, provider: string): Promise<string[]> =>
  (
    await db.rows<{ code: string }>(sql`
      delete from auth.provider_alarms
       where provider = ${provider} and last_at < auth.clock() - make_interval(secs => ${HEALED_AFTER_SECONDS})
      returning code`)
  ).map(({ code }) => code)

export interface ProviderAlarm {
  readonly provider: string
  readonly code: string
}

export const findAlarms = (db: Db) =>
  db.rows<ProviderAlarm>(sql`select provider, code from auth.provider_alarms order by provider, code`)
