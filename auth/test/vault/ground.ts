/** A database with a ring of two keys and rows under the first, for tests of a rotation. */
import { randomBytes, randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { refreshTokenOf, seedTokens, tokenOf } from '../../../e2e/src/seed-tokens.ts'
import { sql } from '../../src/db/sql.ts'
import { monotonicMs } from '../../src/platform/clock.ts'
import { type FollowingKeyRing, openKeyRing } from '../../src/vault/key-ring.ts'
import { type RewrapNeeds, rewrap } from '../../src/vault/rewrap.ts'
import { beginRewrap } from '../../src/vault/rewrap-begin.ts'
import type { Run } from '../../src/vault/rewrap-store.ts'
import { promoteKey } from '../../src/vault/rotation.ts'
import { loadKeyRing, lookAtKeyRing, type ProcessName } from '../../src/vault/store.ts'
import { openVault } from '../../src/vault/vault.ts'
import { type TestDatabase, testDatabase } from '../database.ts'

export const processName = (): ProcessName => ({ id: randomUUID(), role: 'all', version: '1.2.3' })

export interface RingGround extends TestDatabase {
  /** k0 and k1. */
  readonly keys: ReadonlyMap<string, Buffer>
  readonly k0: ReadonlyMap<string, Buffer>
  /** Connections under k0. */
  readonly ids: readonly string[]
  /** As a command has it. */
  ring(): Promise<FollowingKeyRing>
  promote(): Promise<void>
  begin(kind?: Run['kind']): Promise<Run>
  /** @param more to watch it, or to stop it by an error */
  rewrap(run: Run, more?: Partial<RewrapNeeds>): ReturnType<typeof rewrap>
  rowsOn(keyId: string): Promise<number>
  /** Ids whose tokens do not open, or open to something else, with these keys alone. */
  broken(keys: ReadonlyMap<string, Buffer>): Promise<string[]>
}

export async function ringGround(count: number): Promise<RingGround> {
  const t = await testDatabase()
  const k0 = new Map([['k0', randomBytes(32)]])
  const keys = new Map([...k0, ['k1', randomBytes(32)]])
  await loadKeyRing(t.db, keys)
  const ids = await seedTokens({ databaseUrl: t.url, keys: k0, count })
  const ring = () => lookAtKeyRing(t.db, keys)
  return {
    ...t,
    keys,
    k0,
    ids,
    ring,
    async promote() {
      const outcome = await promoteKey({ db: t.db, ring: await ring() }, 'k1')
      if (outcome.kind !== 'promoted') throw new Error(`not promoted: ${outcome.kind}`)
    },
    async begin(kind = 'wrap') {
      const beginning = await beginRewrap({ db: t.db, ring: await ring() }, kind)
      if (beginning.kind !== 'begun') throw new Error(`not begun: ${beginning.kind}`)
      return beginning.run
    },
    async rewrap(run, more = {}) {
      const held = await ring()
      const pause = async (ms: number) => void (await sleep(Math.min(ms, 20)))
      const needs = { db: t.db, vault: openVault(held), ring: held, pause, monotonicMs, progress: () => {} }
      return rewrap({ ...needs, ...more }, run, 100_000)
    },
    async rowsOn(keyId) {
      const row = await t.db.one<{ count: number }>(sql`
        select count(*)::int count from auth.oauth_tokens where data_key like ${`atv1.${keyId}.%`}`)
      return row?.count ?? -1
    },
    async broken(some) {
      const vault = openVault(openKeyRing(some, [...some.keys()][0] ?? ''))
      const rows = await t.db.rows<{
        id: string
        owner: string
        data_key: string
        access_token: string
        refresh_token: string
      }>(
        sql`select id, owner_id "owner", data_key, access_token, refresh_token from auth.oauth_tokens order by id`,
      )
      return rows
        .filter((row) => {
          try {
            const key = vault.open(row.data_key, {
              purpose: 'oauth_tokens',
              owner: row.owner,
              row: row.id,
              provider: 'google',
            })
            return (
              key.unseal('access_token', row.access_token).reveal() !== tokenOf(row.id) ||
              key.unseal('refresh_token', row.refresh_token).reveal() !== refreshTokenOf(row.id)
            )
          } catch {
            return true
          }
        })
        .map((row) => row.id)
    },
  }
}
