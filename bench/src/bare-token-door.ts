/**
 * The denominator of `bench -- tokens`: a bare `node:http` server that reads the request, runs the service's own
 * single-row `select` of a connection over a `pg` pool of the same size, as a prepared statement, and answers JSON of the
 * same shape. No caller is proven, nothing is opened, nothing is audited. A process of its own; prints its port.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import pg from 'pg'

const pool = new pg.Pool({
  connectionString: process.env.DATABASE_URL,
  max: Number(process.env.POOL_SIZE),
  options: '-c timezone=UTC',
})
const QUERY = {
  name: 'token',
  text: `select id, owner_id, provider, status, status_reason, data_key, access_token, expires_at, scope, version,
           coalesce(expires_at > auth.clock() + least(make_interval(secs => $2),
                    greatest(interval '1 minute', (expires_at - issued_at) * 0.9)), false) fresh,
           coalesce(expires_at > auth.clock(), false) valid
      from auth.oauth_tokens where id = $1`,
}

const server = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const asked = JSON.parse(Buffer.concat(chunks).toString('utf8')) as { min_valid_seconds: number }
    const id = request.url?.split('/')[3]
    pool.query({ ...QUERY, values: [id, asked.min_valid_seconds] }).then(
      ({ rows: [row] }) => {
        const body = JSON.stringify({
          access_token: row.access_token,
          expires_at: row.expires_at.toISOString(),
          scopes: row.scope.split(' '),
        })
        response.writeHead(200, {
          'content-type': 'application/json; charset=utf-8',
          'content-length': Buffer.byteLength(body),
        })
        response.end(body)
      },
      () => response.writeHead(500).end(),
    )
  })
})
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${JSON.stringify({ port: (server.address() as AddressInfo).port })}\n`)
})
process.on('SIGTERM', () => {
  server.close()
  server.closeAllConnections()
  void pool.end()
})
