/**
 * What one would write first: Fastify, the same HMAC check, the body parsed, and one insert for each event before the
 * answer, deduplicated by its key. A process of its own; prints its port.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import Fastify from 'fastify'
import pg from 'pg'

const SECRET = 'bench'
const POOL = 10

const pool = new pg.Pool({ connectionString: process.argv[2], max: POOL })
await pool.query(
  'create table if not exists one_by_one (id bigint generated always as identity primary key, key bytea unique, body bytea not null, received_at timestamptz not null default now())',
)
const app = Fastify()
app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) =>
  done(null, body),
)
app.post('/', async (request, reply) => {
  const body = request.body as Buffer
  const mac = createHmac('sha256', SECRET).update(body).digest()
  const given = Buffer.from(String(request.headers['x-signature'] ?? ''), 'hex')
  // The generator sends one fixed signature: the check is computed and compared, its outcome does not matter here.
  reply.header('x-genuine', String(given.length === mac.length && timingSafeEqual(mac, given)))
  const { value } = JSON.parse(body.toString()) as { value: unknown[] }
  for (const item of value)
    await pool.query({
      name: 'one',
      text: 'insert into one_by_one (key, body) values ($1, $2) on conflict do nothing',
      values: [createHash('sha256').update(JSON.stringify(item)).digest(), body],
    })
  return reply.code(202).send()
})
await app.listen({ host: '127.0.0.1', port: 0 })
const address = app.server.address()
process.stdout.write(`${JSON.stringify({ port: typeof address === 'object' ? address?.port : undefined })}\n`)
process.on('SIGTERM', () => {
  void app.close().then(() => pool.end())
})
