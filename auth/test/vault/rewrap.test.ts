import { beforeEach, describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { rewrap } from '../../src/vault/rewrap.ts'
import { beginRewrap } from '../../src/vault/rewrap-begin.ts'
import { loadKeyRing } from '../../src/vault/store.ts'
import { openVault } from '../../src/vault/vault.ts'
import { openWorld } from '../world.ts'
import { processName, type RingGround, ringGround } from './ground.ts'

let g: RingGround
beforeEach(async () => {
  g = await ringGround(700)
  await g.promote()
  return () => g.close()
})

const k1 = () => new Map([...g.keys].filter(([id]) => id === 'k1'))
const cells = () =>
  g.db.rows<{ id: string; data_key: string; access_token: string; version: number }>(
    sql`select id, data_key, access_token, version from auth.oauth_tokens order by id`,
  )

describe('rewrap', () => {
  test('TV-05 wraps every data key anew, leaves the cells and versions as they are, and ends', async () => {
    const before = await cells()
    const done: number[] = []
    const outcome = await g.rewrap(await g.begin(), { progress: (at) => done.push(at.done) })
    expect(outcome).toEqual({ kind: 'finished', done: 700, unreadable: [] })
    expect(done).toEqual([250, 500, 700])
    expect([await g.rowsOn('k0'), await g.rowsOn('k1')]).toEqual([0, 700])
    expect(await g.broken(k1())).toEqual([])
    const after = await cells()
    expect(after.map((row) => [row.access_token, row.version])).toEqual(
      before.map((row) => [row.access_token, row.version]),
    )
    expect((await beginRewrap({ db: g.db, ring: await g.ring() }, 'wrap')).kind).toBe('nothing_to_do')
  })

  test('TV-05 with new data keys every cell is sealed anew, and the earlier data keys open nothing', async () => {
    const before = new Map((await cells()).map((row) => [row.id, row]))
    const outcome = await g.rewrap(await g.begin('new_data_keys'))
    expect(outcome).toEqual({ kind: 'finished', done: 700, unreadable: [] })
    expect(await g.rowsOn('k0')).toBe(0)
    expect(await g.broken(k1())).toEqual([])
    for (const row of await cells()) {
      expect(row.access_token).not.toBe(before.get(row.id)?.access_token)
      expect(row.version).toBe((before.get(row.id)?.version ?? 0) + 1)
    }
    // the leaked key with the earlier data keys, over the cells of now
    for (const row of before.values())
      await g.db.rows(sql`update auth.oauth_tokens set data_key = ${row.data_key} where id = ${row.id}`)
    expect((await g.broken(g.k0)).length).toBe(700)
  })

  test.each(['wrap', 'new_data_keys'] as const)(
    'TV-05 %s: cut off in the middle it goes on where it was, and moves no row twice',
    async (kind) => {
      const run = await g.begin(kind)
      let at = 0
      const cut = g.rewrap(run, {
        progress: ({ done }) => {
          at = done
          if (done >= 240) throw new Error('cut off')
        },
      })
      await expect(cut).rejects.toThrow('cut off')
      expect(at).toBeLessThan(700)
      expect(await g.rowsOn('k1')).toBe(at)
      expect(await g.broken(g.keys)).toEqual([])
      const versions = await cells()
      const again = await beginRewrap({ db: g.db, ring: await g.ring() }, kind)
      expect(again).toMatchObject({ kind: 'begun', resumed: true, run: { id: run.id, done: at, total: 700 } })
      expect(await g.rewrap(run)).toEqual({ kind: 'finished', done: 700, unreadable: [] })
      expect(await g.rowsOn('k0')).toBe(0)
      const moved = kind === 'wrap' ? 1 : 2
      expect(Math.max(...(await cells()).map((row) => row.version))).toBe(moved)
      expect(Math.max(...versions.map((row) => row.version))).toBe(moved)
    },
  )

  test.each(['wrap', 'new_data_keys'] as const)(
    'TV-05 %s: what another transaction writes meanwhile is never overwritten',
    async (kind) => {
      const [id = ''] = g.ids
      const run = await g.begin(kind)
      const written = { data_key: '', access_token: '' }
      let rewrapping: ReturnType<RingGround['rewrap']> | undefined
      await g.db.transaction(async (tx) => {
        // a reconnect, say: a new data key and new cells, taken from another row so that they are well formed
        const other = await tx.one<typeof written>(sql`
          update auth.oauth_tokens t set data_key = o.data_key, access_token = o.access_token, status = 'revoking'
            from auth.oauth_tokens o where t.id = ${id} and o.id = ${g.ids[1]}
          returning t.data_key, t.access_token`)
        Object.assign(written, other)
        let passed = () => {}
        const others = new Promise<void>((resolve) => {
          passed = resolve
        })
        rewrapping = g.rewrap(run, {
          pause: async () => {
            passed()
            await new Promise((resolve) => setTimeout(resolve, 20))
          },
        })
        await Promise.race([others, rewrapping])
        expect((await cells()).find((row) => row.id === id)?.data_key).toMatch(/^atv1\.k0\./)
      })
      // the row's new key belongs to another row, so it cannot be opened: it is named, and as it was written
      expect(await rewrapping).toEqual({ kind: 'finished', done: 699, unreadable: [`oauth_tokens/${id}`] })
      expect((await cells()).find((row) => row.id === id)).toMatchObject(written)
    },
  )

  test('TV-05 with new data keys a row whose refresh is under way waits, and the answer that comes is not lost', async () => {
    const [id = ''] = g.ids
    await g.db.rows(sql`
      update auth.refreshes set lease_until = auth.clock() + interval '20 s', lease_id = gen_random_uuid() where id = ${id}`)
    const run = await g.begin('new_data_keys')
    const before = (await cells()).find((row) => row.id === id)
    let pauses = 0
    const outcome = await g.rewrap(run, {
      pause: async () => {
        pauses += 1
        if (pauses < 4) return
        expect((await cells()).find((row) => row.id === id)).toEqual(before)
        // the refresh ends: its compare-and-set finds the version that it began with
        const settled = await g.db.rows(sql`
          update auth.oauth_tokens set version = version + 1 where id = ${id} and version = ${before?.version} returning id`)
        expect(settled.length).toBeLessThanOrEqual(1)
        await g.db.rows(sql`update auth.refreshes set lease_until = null, lease_id = null where id = ${id}`)
      },
    })
    expect(outcome).toEqual({ kind: 'finished', done: 700, unreadable: [] })
    expect(pauses).toBe(4)
    expect((await cells()).find((row) => row.id === id)?.version).toBe((before?.version ?? 0) + 2)
    expect(await g.broken(k1())).toEqual([])
  })

  test('TV-05 damaged rows stay as they are, are named, and stop nothing', async () => {
    const [a = '', b = ''] = [...g.ids].sort()
    await g.db.rows(
      sql`update auth.oauth_tokens set data_key = overlay(data_key placing 'AAAA' from 20) where id = ${a}`,
    )
    await g.db.rows(
      sql`update auth.oauth_tokens set access_token = overlay(access_token placing 'AAAA' from 25) where id = ${b}`,
    )
    const damaged = (await cells()).filter((row) => row.id === a || row.id === b)
    expect(await g.rewrap(await g.begin('new_data_keys'))).toMatchObject({
      kind: 'finished',
      unreadable: [`oauth_tokens/${a}`, `oauth_tokens/${b}`],
    })
    expect(await g.rowsOn('k0')).toBe(2)
    expect((await cells()).filter((row) => row.id === a || row.id === b)).toEqual(damaged)
  })

  test('TV-05 it begins only when every live process seals with the new key, and stops when another key becomes primary', async () => {
    const late = processName()
    await loadKeyRing(g.db, g.keys, late)
    await g.db.rows(sql`update auth.processes set sealing_with = 'k0' where id = ${late.id}`)
    const ring = await g.ring()
    expect(await beginRewrap({ db: g.db, ring }, 'wrap')).toMatchObject({
      kind: 'not_followed_by',
      processes: [{ id: late.id }],
    })
    await loadKeyRing(g.db, g.keys, late)
    const run = await g.begin()
    let back: Promise<object[]> | undefined
    const outcome = await g.rewrap(run, {
      progress: () => {
        back ??= g.db.rows(sql`
          with demoted as (update auth.vault_keys set status = 'decrypt' where key_id = 'k1') select 1`)
      },
    })
    await back
    expect(outcome.kind).toBe('not_primary')
    expect(await g.rowsOn('k0')).toBeGreaterThan(0)
  })

  test('TV-05 one with new data keys that was interrupted is not finished by wrapping alone', async () => {
    await g.begin('new_data_keys')
    expect((await beginRewrap({ db: g.db, ring: await g.ring() }, 'wrap')).kind).toBe('new_data_keys_open')
    const other = await g.begin('new_data_keys')
    expect(other.done).toBe(0)
  })

  test('TV-05 the rate is kept: pauses add up to what was moved', async () => {
    let pausedMs = 0
    let nowMs = 0
    const run = await g.begin()
    const ring = await g.ring()
    const needs = {
      db: g.db,
      vault: openVault(ring),
      ring,
      monotonicMs: () => nowMs,
      pause: async (ms: number) => {
        pausedMs += ms
        nowMs += ms
      },
      progress: () => {},
    }
    expect((await rewrap(needs, run, 100)).kind).toBe('finished')
    expect(pausedMs).toBeGreaterThanOrEqual(6_900)
    expect(pausedMs).toBeLessThanOrEqual(7_100)
  })
})

test('TV-05 rows for each key are a metric of the service', async () => {
  const world = await openWorld({
    environment: { ENCRYPTION_KEY: keyText(g, 'k0'), ENCRYPTION_KEYS: `k1:${keyText(g, 'k1')}` },
    database: g,
  })
  const page = async () => (await fetch(`http://127.0.0.1:${world.internalPort}/metrics`)).text()
  expect(await page()).toContain('flovify_vault_rows{key="k0",table="oauth_tokens"} 700')
  await g.rewrap(await g.begin())
  const after = await page()
  expect(after).toContain('flovify_vault_rows{key="k1",table="oauth_tokens"} 700')
  expect(after).not.toContain('flovify_vault_rows{key="k0"')
  await Promise.all(world.instances.map((instance) => instance.stop()))
})

const keyText = (ground: RingGround, id: string) => `${ground.keys.get(id)?.toString('base64url')}=`
