/** The pools of one process: sized for one small server, together well under PostgreSQL's default of 100 connections. */
import type { Log } from '../platform/log.ts'
import { openPool, type Pool, type PoolOptions } from './pool.ts'

export type Pools = Readonly<Record<'ingest' | 'work' | 'reads', Pool>>

export function openPools(url: string, log: Log): Pools {
  const open = (name: PoolOptions['name'], size: number, statementMs: number) =>
    openPool({ url, name, size, connectMs: 1_500, statementMs, log })
  return { ingest: open('ingest', 6, 2_000), work: open('work', 16, 10_000), reads: open('reads', 6, 5_000) }
}

export async function closePools(pools: Pools): Promise<void> {
  await Promise.all(Object.values(pools).map((pool) => pool.close()))
}
