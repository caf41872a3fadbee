/**
 * PostgreSQL as it is after some hours: it writes its log into files that it has written before. A new one makes each of
 * them (16 MiB of zeros, flushed) while every commit waits, 50 to 80 ms about once a second under load; that would be
 * measured in place of us. Source: PostgreSQL 18, "WAL Configuration": segments are recycled at a checkpoint.
 */
import type { Client } from 'pg'

/** Files of the log that are ready, or nearly: 1 GiB, which `max_wal_size` keeps by default. */
const FILES = 64

/** @returns how many files there are now */
export async function reuseLog(client: Client): Promise<number> {
  for (let n = 0; n < FILES; n += 1) {
    // a file in which nothing is written is not left
    await client.query("select pg_logical_emit_message(false, 'flovify', 'a file of the log')")
    await client.query('select pg_switch_wal()')
  }
  await client.query('checkpoint')
  const { rows } = await client.query<{ files: number }>('select count(*)::int as files from pg_ls_waldir()')
  return rows[0]?.files ?? 0
}
