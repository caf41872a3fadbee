/**
 * Lets nobody store until let go, so that a kill meets requests that are received and not yet committed. Without it a
 * service that acknowledges before it commits would pass: PostgreSQL commits within two milliseconds.
 */
import pg from 'pg'

/** @returns lets go; does nothing when the server has gone meanwhile */
export const holdStoring = (databaseUrl: string) => hold(databaseUrl, 'auth.event_keys')

/** Lets no delivery end: what is claimed and sent stays claimed, so that a kill surely meets some. */
export const holdSettling = (databaseUrl: string) => hold(databaseUrl, 'auth.attempts')

async function hold(databaseUrl: string, table: string): Promise<() => Promise<void>> {
  const client = new pg.Client({ connectionString: databaseUrl })
  client.on('error', () => undefined)
  await client.connect()
  await client.query(`begin; lock table ${table} in share row exclusive mode`)
  return async () => {
    await client.query('rollback').catch(() => undefined)
    await client.end().catch(() => undefined)
  }
}
