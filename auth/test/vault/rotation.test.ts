import { randomBytes } from 'node:crypto'
import { globSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { newId } from '../../src/platform/ids.ts'
import { openLog } from '../../src/platform/log.ts'
import { openChannelKeys } from '../../src/vault/channel-keys.ts'
import { openPresence } from '../../src/vault/presence.ts'
import { disableKey, promoteKey } from '../../src/vault/rotation.ts'
import { countRowsByKey } from '../../src/vault/rotation-store.ts'
import { SEALED_TABLES } from '../../src/vault/sealed-tables.ts'
import { loadKeyRing } from '../../src/vault/store.ts'
import { openVault } from '../../src/vault/vault.ts'
import { type TestDatabase, testDatabase } from '../database.ts'
import { processName, type RingGround, ringGround } from './ground.ts'

const log = openLog({ write: () => {} })

describe('promoting a key', () => {
  let g: RingGround
  beforeEach(async () => {
    g = await ringGround(3)
    return () => g.close()
  })
  const statuses = async () =>
    Object.fromEntries(
      (
        await g.db.rows<{ key_id: string; status: string }>(sql`select key_id, status from auth.vault_keys`)
      ).map((row) => [row.key_id, row.status]),
    )

  test('TV-05 it is refused while a live process lacks the key, by name; a silent or ended one counts no more', async () => {
    const lacking = processName()
    await loadKeyRing(g.db, g.keys, processName())
    await loadKeyRing(g.db, g.k0, lacking)
    const ring = await g.ring()
    expect(await promoteKey({ db: g.db, ring }, 'k1')).toMatchObject({
      kind: 'not_held_by',
      lacking: [{ id: lacking.id, key_ids: ['k0'] }],
    })
    expect(await statuses()).toEqual({ k0: 'primary', k1: 'decrypt' })
    await g.db.rows(sql`update auth.processes set seen_at = now() - interval '31 s' where id = ${lacking.id}`)
    expect(await promoteKey({ db: g.db, ring }, 'k1')).toMatchObject({
      kind: 'promoted',
      earlierId: 'k0',
      processes: 1,
    })
    expect(await statuses()).toEqual({ k0: 'decrypt', k1: 'primary' })
  })

  test('TV-05 a process that starts meanwhile is listed before the key can be promoted', async () => {
    // what a start holds while it checks its keys
    let letGo = () => {}
    const held = new Promise<void>((resolve) => {
      letGo = resolve
    })
    const starting = g.db.transaction(async (tx) => {
      await tx.rows(sql`lock table auth.vault_keys in share row exclusive mode`)
      await tx.rows(sql`
        insert into auth.processes (id, role, version, key_ids, sealing_with)
        values (${processName().id}, 'all', '1', '{k0}', 'k0')`)
      await held
    })
    const promotion = promoteKey({ db: g.db, ring: await g.ring() }, 'k1')
    await sleep(50)
    letGo()
    await starting
    expect((await promotion).kind).toBe('not_held_by')
  })

  test('it is refused for a key that is unknown, disabled, or not held by the command itself', async () => {
    const ring = await g.ring()
    expect((await promoteKey({ db: g.db, ring }, 'k7')).kind).toBe('unknown')
    expect((await promoteKey({ db: g.db, ring }, 'k0')).kind).toBe('already_primary')
    const without = await loadKeyRing(g.db, g.k0)
    expect((await promoteKey({ db: g.db, ring: without }, 'k1')).kind).toBe('not_held_here')
    expect((await disableKey({ db: g.db }, 'k1')).kind).toBe('disabled')
    expect((await promoteKey({ db: g.db, ring }, 'k1')).kind).toBe('disabled')
    expect(await statuses()).toEqual({ k0: 'primary', k1: 'disabled' })
  })

  test('TV-05 a running process takes the new primary by its heartbeat, and its end takes it from the list', async () => {
    const process = processName()
    const ring = await loadKeyRing(g.db, g.keys, process)
    const presence = openPresence({ db: g.db, ring, process, log })
    const vault = openVault(ring)
    const context = { purpose: 'oauth_tokens', owner: '7', row: 'con_a', provider: 'google' } as const
    const before = vault.newDataKey(context)
    expect(before).toMatch(/^atv1\.k0\./)
    await g.promote()
    await expect.poll(() => ring.primaryId, { timeout: 10_000 }).toBe('k1')
    expect(vault.newDataKey(context)).toMatch(/^atv1\.k1\./)
    vault.open(before, context)
    await expect
      .poll(() => g.db.one(sql`select sealing_with from auth.processes where id = ${process.id}`))
      .toEqual({ sealing_with: 'k1' })
    await presence.end()
    expect(await g.db.rows(sql`select id from auth.processes`)).toEqual([])
  })

  test('a process never takes a key for primary that it does not hold', async () => {
    const ring = await loadKeyRing(g.db, g.k0)
    expect(ring.follow({ primaryId: 'k1', disabledIds: [] })).toEqual({ kind: 'lacks_primary' })
    expect(ring.primaryId).toBe('k0')
  })

  test('TV-06 a key that was never promoted may leave the environment again; one that was may not', async () => {
    expect((await loadKeyRing(g.db, g.k0)).primaryId).toBe('k0')
    await g.promote()
    const k1 = new Map([...g.keys].filter(([id]) => id === 'k1'))
    await expect(loadKeyRing(g.db, g.k0)).rejects.toThrow(
      /"k1" is in use in this database but not configured/,
    )
    await expect(loadKeyRing(g.db, k1)).rejects.toThrow(/"k0" is in use in this database but not configured/)
    const other = new Map([...g.k0, ['k1', randomBytes(32)]])
    await expect(loadKeyRing(g.db, other)).rejects.toThrow(/"k1" is not the key/)
  })

  test('order in the environment counts at the first start only', async () => {
    await g.promote()
    expect((await loadKeyRing(g.db, g.keys)).primaryId).toBe('k1')
    expect((await loadKeyRing(g.db, new Map([...g.keys].reverse()))).primaryId).toBe('k1')
  })
})

describe('disabling a key', () => {
  let g: RingGround
  beforeEach(async () => {
    g = await ringGround(3)
    return () => g.close()
  })

  test('TV-05 it is refused while the key is primary, while a row names it, and while a process seals with it', async () => {
    expect((await disableKey({ db: g.db }, 'k0')).kind).toBe('primary')
    const late = processName()
    await loadKeyRing(g.db, g.keys, late)
    await g.promote()
    expect(await disableKey({ db: g.db }, 'k0')).toMatchObject({
      kind: 'sealed_with_by',
      processes: [{ id: late.id }],
    })
    await loadKeyRing(g.db, g.keys, late)
    expect(await disableKey({ db: g.db }, 'k0')).toEqual({
      kind: 'named_by_rows',
      rows: [{ key: 'k0', table: 'oauth_tokens', rows: 3 }],
    })
    expect(await g.rewrap(await g.begin())).toMatchObject({ kind: 'finished' })
    expect((await disableKey({ db: g.db }, 'k0')).kind).toBe('disabled')
    expect((await disableKey({ db: g.db }, 'k0')).kind).toBe('already_disabled')
    expect((await disableKey({ db: g.db }, 'k9')).kind).toBe('unknown')
  })

  test('TV-05 it is refused while an unexpired subscription names the key, with their number and until when', async () => {
    await g.promote()
    await g.rewrap(await g.begin())
    const until = new Date(Date.now() + 6 * 86_400_000)
    const add = (kind: string, state: string, expiresAt: Date) =>
      g.db.rows(sql`
        insert into auth.subscriptions (id, connection_id, provider, kind, resource, state, expires_at, channel_key_id)
        values (${newId('sub')}, ${g.ids[0]}, 'google', ${kind}, 'me', ${state}, ${expiresAt}, 'k0')`)
    await add('expired', 'active', new Date(Date.now() - 1_000))
    await add('over', 'stopped', until)
    await add('mail', 'active', until)
    expect(await disableKey({ db: g.db }, 'k0')).toEqual({ kind: 'named_by_subscriptions', count: 1, until })
    await g.db.rows(sql`update auth.subscriptions set state = 'stopped' where kind = 'mail'`)
    expect((await disableKey({ db: g.db }, 'k0')).kind).toBe('disabled')
  })

  test('TV-05 nothing opens and no ref passes with a disabled key, also where it is still configured', async () => {
    const ring = await loadKeyRing(g.db, g.keys)
    const keys = openChannelKeys(ring)
    const ref = keys.mintRef(newId('sub'))
    const secret = keys.mintChannelSecret().reveal()
    const vault = openVault(ring)
    const context = { purpose: 'destinations', owner: '', row: 'dst_a', provider: '' } as const
    const wrapped = vault.newDataKey(context)
    expect([keys.genuineRef(ref) !== undefined, keys.genuineChannelSecret(secret)]).toEqual([true, true])
    ring.follow({ primaryId: 'k1', disabledIds: ['k0'] })
    expect([keys.genuineRef(ref), keys.genuineChannelSecret(secret)]).toEqual([undefined, false])
    expect(() => vault.open(wrapped, context)).toThrow(/"k0" is disabled/)
    expect(keys.mintRef(newId('sub'))).toContain('.k1.')
  })
})

describe('the list of sealed tables', () => {
  let t: TestDatabase
  beforeAll(async () => {
    t = await testDatabase()
  })
  afterAll(() => t.close())

  test('TV-05 it names every table of the database that has a data key, with columns that exist', async () => {
    const columns = await t.db.rows<{ table: string; column: string }>(sql`
      select table_name "table", column_name "column" from information_schema.columns where table_schema = 'auth'`)
    const withDataKey = columns.filter(({ column }) => column.includes('data_key')).map(({ table }) => table)
    expect(Object.keys(SEALED_TABLES).sort()).toEqual(withDataKey.sort())
    const known = new Set(columns.map(({ table, column }) => `${table}.${column}`))
    const named = Object.entries(SEALED_TABLES).flatMap(([table, line]) =>
      [
        'id',
        ...line.cells,
        ...('owner' in line ? [line.owner, line.provider] : []),
        ...('versioned' in line ? ['version'] : []),
      ].map((column) => `${table}.${column}`),
    )
    expect(named.filter((column) => !known.has(column))).toEqual([])
  })

  test('TV-05 it names every column that the code seals', () => {
    const root = new URL('../../src/', import.meta.url).pathname
    const sealed = globSync('**/*.ts', { cwd: root }).flatMap((file) =>
      [...readFileSync(root + file, 'utf8').matchAll(/\.seal\(\s*('([^']*)'|[^)])/g)].map(
        (match) => match[2] ?? `${file}: a computed column`,
      ),
    )
    const cells = Object.values(SEALED_TABLES).flatMap((line) => [...line.cells])
    expect(sealed.length).toBeGreaterThanOrEqual(6)
    const computed = 'vault/rewrap.ts: a computed column'
    expect([...new Set(sealed)].filter((column) => column !== computed).sort()).toEqual(cells.sort())
  })

  test('TV-05 rows are counted by key and table, wiped ones not', async () => {
    const g = await ringGround(4)
    await g.db.rows(sql`update auth.oauth_tokens set data_key = null where id = ${g.ids[0]}`)
    expect(await countRowsByKey(g.db)).toEqual([{ key: 'k0', table: 'oauth_tokens', rows: 3 }])
    await g.close()
  })
})
