/** How fast due rows of 200 destinations are claimed: with nothing else waiting, and with a million at a clogged one. */
import pg from 'pg'
import { openPool } from '../../auth/src/db/pool.ts'
import { claimDueDeliveries } from '../../auth/src/delivery/store.ts'
import { openLog } from '../../auth/src/platform/log.ts'

export interface ClaimFigures {
  readonly waiting: number
  readonly emptyPerSecond: number
  readonly cloggedPerSecond: number
  readonly ratio: number
}

const WAITING = 1_000_000
const DESTINATIONS = 200
const LIMIT = 100
const ROUNDS = 3
const CLAIMS = 60

export async function measureClaims(say: (line: string) => void, databaseUrl: string): Promise<ClaimFigures> {
  const db = openPool({
    url: databaseUrl,
    name: 'work',
    size: 2,
    connectMs: 5_000,
    statementMs: 60_000,
    log: openLog({ write: () => {} }),
  })
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  try {
    await client.query('delete from auth.deliveries')
    await client.query('update auth.destinations set paused = true')
    await client.query(
      `insert into auth.destinations (id, name, url, data_key, secret, concurrency)
       select 'dst_bench_' || n, 'bench ' || n, 'https://example.com', 'x', 'x', 100 from generate_series(1, $1::int) n`,
      [DESTINATIONS],
    )
    const claimsPerSecond = async (): Promise<number> => {
      await client.query(
        `insert into auth.deliveries (id, event_id, event_recorded_at, destination_id, rule_id, due_at, created_at)
         select 'dlv_' || gen_random_uuid(), 'evt_x', auth.clock(), 'dst_bench_' || (2 + n % $1::int), 'rul_bench', auth.clock() - interval '1 second', auth.clock()
           from generate_series(1, $2::int) n`,
        [DESTINATIONS - 1, CLAIMS * LIMIT * 2],
      )
      await client.query('analyze auth.deliveries')
      const began = performance.now()
      let claimed = 0
      for (let i = 0; i < CLAIMS; i += 1) {
        const rows = await claimDueDeliveries(db, { id: crypto.randomUUID(), seconds: 60, limit: LIMIT })
        claimed += rows.length
        // settled at once, as if all had been delivered: the limits are free again
        await client.query('delete from auth.deliveries where id = any($1)', [rows.map(({ id }) => id)])
      }
      const perSecond = (claimed / (performance.now() - began)) * 1_000
      await client.query(`delete from auth.deliveries where destination_id <> 'dst_bench_1'`)
      await client.query('vacuum auth.deliveries')
      return perSecond
    }
    const clog = () =>
      client.query(
        `insert into auth.deliveries (id, event_id, event_recorded_at, destination_id, rule_id, due_at, created_at, lease_until, lease_id)
         select 'dlv_' || n, 'evt_x', auth.clock(), 'dst_bench_1', 'rul_bench', auth.clock() - make_interval(secs => $1 - n), auth.clock(),
                case when n <= 100 then auth.clock() + interval '1 hour' end, case when n <= 100 then gen_random_uuid() end
           from generate_series(1, $1::int) n`,
        [WAITING],
      )
    const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length
    await claimsPerSecond()
    const measure = async () => {
      const values: number[] = []
      for (let round = 0; round < ROUNDS; round += 1) values.push(await claimsPerSecond())
      return values
    }
    const empty = await measure()
    say('claims: a million rows are put at one destination')
    await clog()
    await client.query('vacuum analyze auth.deliveries')
    await client.query(
      `update auth.destinations set claimed_due_at = auth.clock() - make_interval(secs => $1 - 100) where id = 'dst_bench_1'`,
      [WAITING],
    )
    await claimsPerSecond()
    const clogged = await measure()
    const figures = {
      waiting: WAITING,
      emptyPerSecond: Math.round(mean(empty)),
      cloggedPerSecond: Math.round(mean(clogged)),
      ratio: mean(clogged) / mean(empty),
    }
    say(
      `claims with ${WAITING} waiting ${figures.cloggedPerSecond}/s, with none ${figures.emptyPerSecond}/s: ${figures.ratio.toFixed(2)}`,
    )
    return figures
  } finally {
    await client.end()
    await db.close()
  }
}
