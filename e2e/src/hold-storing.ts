/**
 * Lets nobody store until let go, so that a kill meets requests that are received and not yet committed. Without it a
 * service that acknowledges before it commits would pass: PostgreSQL commits within two milliseconds.
 */
import pg from 'pg'

/** @returns lets go; does nothing when the server has gone meanwhile */
export async function holdStoring(databaseUrl: string): Promise<() => Promise<void>> {
  const client = new pg.Client({ connectionString: databaseUrl })
  client.on('error', () => undefined)
  await client.connect()
  await client.query('begin; lock table auth.event_keys in share row exclusive mode')
  return async () => {
    await client.query('rollback').catch(() => undefined)
    await client.end().catch(() => undefined)
  }
}
