/**
 * `npm run bench -- deliveries`: pages of the list of deliveries with ten thousand and with ten million finished ones,
 * over thirty days and fifty destinations, one of which has nine tenths. Each kind of page several times; the ratio says
 * whether a page costs the same. About 4 GB of disk while it runs.
 */
import { cpus } from 'node:os'
import pg from 'pg'
import { startAuthUnderFault } from '../../e2e/src/auth-process.ts'
import { onOwnDatabase } from '../../e2e/src/refresh-storm.ts'

const SMALL = 10_000
const LARGE = 10_000_000
const BATCH = 500_000
const TURNS = 20
const DESTINATIONS = 50

type Say = (line: string) => void
type Pages = Readonly<Record<string, number>>

export const benchDeliveries = (say: Say): Promise<object> =>
  onOwnDatabase(async (databaseUrl, directory) => {
    const auth = await startAuthUnderFault({ databaseUrl, directory, receiverPort: 9, role: 'door' })
    const client = new pg.Client({ connectionString: databaseUrl })
    await client.connect()
    try {
      await client.query(
        `insert into auth.destinations (id, name, url, data_key, secret)
         select 'dst_' || translate(lpad(n::text, 26, '0'), '0189', 'abcd'), 'bench ' || n, 'https://example.com', 'x', 'x' from generate_series(0, $1 - 1) n`,
        [DESTINATIONS],
      )
      await client.query(
        `select auth.ensure_days((auth.clock() at time zone 'UTC')::date - 31, (auth.clock() at time zone 'UTC')::date)`,
      )
      const get = async (path: string) =>
        (await auth.call('GET', path)) as { next_cursor?: string; items?: { destination_id: string }[] }
      const measure = async (): Promise<Pages> => {
        const first = await get('/internal/deliveries?limit=50')
        const busy = first.items?.[0]?.destination_id ?? ''
        const day = (ago: number) => new Date(Date.now() - ago * 24 * 3600_000).toISOString()
        const kinds: Record<string, string> = {
          newest: '',
          second: `&cursor=${first.next_cursor}`,
          delivered: '&state=delivered',
          expired: '&state=expired',
          'busy destination': `&destination=${busy}`,
          'three weeks ago': `&to=${day(21)}`,
          'one day of the busy one': `&destination=${busy}&from=${day(15)}&to=${day(14)}`,
        }
        const pages: Record<string, number> = {}
        for (const [kind, query] of Object.entries(kinds)) {
          const times: number[] = []
          for (let turn = 0; turn < TURNS; turn += 1) {
            const began = performance.now()
            await get(`/internal/deliveries?limit=50${query}`)
            times.push(performance.now() - began)
          }
          pages[kind] = Number((times.sort((a, b) => a - b)[TURNS / 2] ?? 0).toFixed(1))
        }
        return pages
      }
      await fill(client, SMALL)
      const small = await measure()
      say(`${SMALL} finished: median ms ${JSON.stringify(small)}`)
      for (let done = SMALL; done < LARGE; done += BATCH) {
        await fill(client, Math.min(BATCH, LARGE - done))
        if ((done - SMALL) % 2_000_000 === 0) say(`${done + BATCH} of ${LARGE} …`)
      }
      await client.query('vacuum analyze auth.delivery_outcomes')
      const large = await measure()
      say(`${LARGE} finished: median ms ${JSON.stringify(large)}`)
      return {
        machine: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}`,
        date: new Date().toISOString(),
        turns: TURNS,
        medianMs: { [SMALL]: small, [LARGE]: large },
        ratio: Object.fromEntries(
          Object.entries(large).map(([kind, ms]) => [kind, Number((ms / (small[kind] ?? 1)).toFixed(2))]),
        ),
      }
    } finally {
      await client.end()
      await auth.stop()
    }
  })

/** One in a thousand expired; nine tenths at one destination; evenly over thirty days. */
const fill = (client: pg.Client, count: number) =>
  client.query(
    `insert into auth.delivery_outcomes (id, event_id, event_recorded_at, destination_id, rule_id, state, attempts, created_at, finished_at)
     select 'dlv_' || translate(left(replace(gen_random_uuid()::text, '-', ''), 26), '0189', 'ghij'), 'evt_' || n, t, 'dst_' || translate(lpad((case when n % 10 < 9 then 0 else n / 10 % $2 end)::text, 26, '0'), '0189', 'abcd'), 'rul_bench',
            case when n % 1000 = 0 then 'expired' else 'delivered' end, 1, t, t
       from generate_series(1, $1::int) n, lateral (select auth.clock() - interval '30 days' * random() as t) moment`,
    [count, DESTINATIONS],
  )
