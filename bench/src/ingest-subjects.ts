/** What `npm run bench -- ingest` compares: each a process of its own, ours with a database of its own. */
import pg from 'pg'
import { startAuthUnderFault } from '../../e2e/src/auth-process.ts'
import { reuseLog } from '../../e2e/src/reused-log.ts'
import { type Seeded, seedSubscription } from '../../e2e/src/seed.ts'
import { startTool } from './tool.ts'

const WAITING = 1_000_000
const REPEATS_EVERY = 10
const ITEMS = 5

export interface Subject {
  readonly name: 'bare' | 'fastify' | 'ours' | 'duplicates' | 'items' | 'backlog'
  readonly title: string
  readonly port: number
  readonly path: string
  readonly pid: number
  body(): Buffer
}

export interface Subjects {
  readonly all: readonly Subject[]
  /** How many different events have been made for ours. */
  issued(): number
  /** How many have been stored, each with its delivery. */
  stored(): Promise<number>
  stop(): Promise<void>
}

/** @param url of the PostgreSQL server */
export async function openSubjects(
  url: string,
  directory: string,
  say: (line: string) => void,
): Promise<Subjects> {
  const stops: (() => Promise<void>)[] = []
  const stop = async () => {
    for (const end of stops.reverse()) await end()
  }
  try {
    const tool = async (name: 'bare' | 'fastify', title: string, args: readonly string[]) => {
      const started = await startTool(`bench/src/${name}-server.ts`, args)
      stops.push(started.stop)
      const { port } = JSON.parse(started.firstLine) as { port: number }
      return { name, title, port, path: '/', pid: started.pid }
    }
    const bare = await tool('bare', 'bare node:http, HMAC, no storage', [])
    const fastify = await tool('fastify', 'Fastify, one insert for each event', [
      await newDatabase(url, 'bench_fastify'),
    ])
    const empty = await openOurs(await newDatabase(url, 'bench_ours'), directory)
    stops.push(empty.stop)
    const full = await openOurs(await newDatabase(url, 'bench_backlog'), directory)
    stops.push(full.stop)
    say(`${WAITING} deliveries are put into one of two databases`)
    await fill(full.databaseUrl)

    let issued = 0
    const next = () => {
      issued += 1
      return issued
    }
    const one = (of: Seeded) => () => of.notification(next())
    const several = () => empty.seeded.notification(...Array.from({ length: ITEMS }, next))
    let asked = 0
    const withRepeats = () => {
      asked += 1
      return empty.seeded.notification(asked % REPEATS_EVERY === 0 ? issued : next())
    }
    const { target } = empty
    return {
      all: [
        { ...bare, body: () => empty.seeded.notification(crypto.randomUUID()) },
        { ...fastify, body: () => empty.seeded.notification(crypto.randomUUID()) },
        { ...target, name: 'ours', title: 'ours, stored before the answer', body: one(empty.seeded) },
        { ...target, name: 'duplicates', title: 'ours, one in ten repeated', body: withRepeats },
        { ...target, name: 'items', title: `ours, ${ITEMS} items a notification`, body: several },
        {
          ...full.target,
          name: 'backlog',
          title: 'ours, a million deliveries waiting',
          body: one(full.seeded),
        },
      ],
      issued: () => issued,
      stored: async () => (await countEvents(empty.databaseUrl)) + (await countEvents(full.databaseUrl)),
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

async function openOurs(databaseUrl: string, directory: string) {
  const name = new URL(databaseUrl).pathname.slice(1)
  const auth = await startAuthUnderFault({ databaseUrl, directory, name, receiverPort: 9, role: 'door' })
  const seeded = await seedSubscription(databaseUrl, auth.secrets.encryptionKey)
  // one rule and one destination: each event gets one delivery row, which no worker takes
  await withClient(databaseUrl, async (client) => {
    await client.query(
      "insert into auth.destinations (id, name, url, data_key, secret, paused) values ('dst_bench', 'bench', 'https://example.com', 'x', 'x', true)",
    )
    await client.query(
      "insert into auth.rules (id, name, destination_id) values ('rul_bench', 'everything', 'dst_bench')",
    )
  })
  if (auth.child.pid === undefined) throw new Error('Auth does not run')
  return {
    databaseUrl,
    seeded,
    target: { port: auth.publicPort, path: seeded.path, pid: auth.child.pid },
    stop: () => auth.stop(),
  }
}

const fill = (databaseUrl: string) =>
  withClient(databaseUrl, async (client) => {
    await client.query(
      `insert into auth.deliveries (id, event_id, event_recorded_at, destination_id, rule_id, due_at, created_at)
       select 'dlv_' || lpad(n::text, 26, '0'), 'evt_' || n, now() - interval '1 hour', 'dst_bench', 'rul_bench', now() - interval '1 hour', now() - interval '1 hour'
         from generate_series(1, $1::int) n`,
      [WAITING],
    )
    await client.query('vacuum analyze auth.deliveries')
    await reuseLog(client)
  })

const countEvents = (databaseUrl: string) =>
  withClient(databaseUrl, async (client) =>
    Number(
      (
        await client.query(
          'select count(*) n from auth.events e join auth.deliveries d on d.event_id = e.id and d.event_recorded_at = e.recorded_at',
        )
      ).rows[0]?.n,
    ),
  )

async function newDatabase(url: string, name: string): Promise<string> {
  await withClient(url, (client) => client.query(`create database ${name}`))
  const database = new URL(url)
  database.pathname = `/${name}`
  return database.href
}

async function withClient<T>(connectionString: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}
