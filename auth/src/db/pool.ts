/**
 * Pools per role (ingest, work, reads), each with its own size and deadlines, so that a slow console query cannot take
 * the connections that store notifications. Every connection runs in UTC with a statement deadline; a broken one is
 * thrown away. Never retries: only the caller knows whether that is right.
 */
import pg from 'pg'
import type { Log } from '../platform/log.ts'
import { areColumns, columnQuery } from './column-query.ts'
import type { Database, Db, Sql, Transaction } from './sql.ts'

export interface PoolOptions {
  readonly url: string
  readonly name: 'ingest' | 'work' | 'reads' | 'migrations'
  readonly size: number
  readonly connectMs: number
  readonly statementMs: number
  readonly log: Log
}

export interface Pool extends Database {
  close(): Promise<void>
}

export function openPool(options: PoolOptions): Pool {
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.size,
    connectionTimeoutMillis: options.connectMs,
    statement_timeout: options.statementMs,
    // the client's own deadline, for a server that does not answer at all
    query_timeout: options.statementMs + 500,
    idle_in_transaction_session_timeout: Math.max(10_000, options.statementMs),
    idleTimeoutMillis: 60_000,
    keepAlive: true,
    application_name: `flovify-${options.name}`,
    options: '-c timezone=UTC',
  })
  pool.on('error', (error) =>
    options.log.warn({ pool: options.name, error_code: codeOf(error) }, 'idle database connection lost'),
  )
  return {
    ...reader((query) => runOnPool(pool, query)),
    transaction: (work) => inTransaction(pool, work),
    close: () => pool.end(),
  }
}

interface Query {
  readonly text: string
  readonly values: unknown[]
  readonly name?: string
}

type Run = (query: Query) => Promise<pg.QueryResult>

function runOnPool(pool: pg.Pool, query: Query): Promise<pg.QueryResult> {
  const { name, text, values } = query
  // a pool answers anything with a promise, which its types do not know
  return name !== undefined && areColumns(values)
    ? (pool.query(columnQuery(name, text, values)) as unknown as Promise<pg.QueryResult>)
    : pool.query(query)
}

function reader(run: Run): Db {
  return {
    rows: async <R extends object>(query: Sql, prepared?: string) =>
      (await run(asQuery(query, prepared))).rows as R[],
    one: async <R extends object>(query: Sql, prepared?: string) =>
      (await run(asQuery(query, prepared))).rows[0] as R | undefined,
  }
}

const asQuery = (query: Sql, name?: string): Query => ({
  text: query.text,
  values: query.values as unknown[],
  ...(name === undefined ? {} : { name }),
})

async function inTransaction<T>(pool: pg.Pool, work: (tx: Transaction) => Promise<T>): Promise<T> {
  const client = await pool.connect()
  let broken: Error | undefined
  const onError = (error: Error) => {
    broken = error
  }
  client.on('error', onError)
  try {
    await client.query('begin')
    const result = await work(transactionOn(client))
    // a transaction that a swallowed error has aborted answers ROLLBACK here, without an error
    const ended = await client.query('commit')
    if (ended.command !== 'COMMIT')
      throw Object.assign(new Error('a transaction was rolled back instead of committed'), {
        code: 'not_committed',
        safe: true,
      })
    return result
  } catch (error) {
    // After a lost connection the rollback fails too: then the server has rolled back, or will.
    await client.query('rollback').catch((cause: unknown) => {
      broken = cause instanceof Error ? cause : new Error('rollback failed')
    })
    throw error
  } finally {
    client.off('error', onError)
    client.release(broken)
  }
}

function transactionOn(client: pg.PoolClient): Transaction {
  let depth = 0
  return {
    ...reader((query) => client.query(query)),
    async savepoint(work) {
      depth += 1
      const name = `s${depth}`
      await client.query(`savepoint ${name}`)
      try {
        const result = await work()
        await client.query(`release savepoint ${name}`)
        return result
      } catch (error) {
        await client.query(`rollback to savepoint ${name}`)
        throw error
      } finally {
        depth -= 1
      }
    },
  }
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name
}
