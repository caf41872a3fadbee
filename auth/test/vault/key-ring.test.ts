import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { newId } from '../../src/platform/ids.ts'
import { openChannelKeys } from '../../src/vault/channel-keys.ts'
import { KeyRingError, openKeyRing } from '../../src/vault/key-ring.ts'
import { loadKeyRing } from '../../src/vault/store.ts'
import { type TestDatabase, testDatabase } from '../database.ts'

describe('the key ring', () => {
  let t: TestDatabase
  beforeAll(async () => {
    t = await testDatabase()
  })
  afterAll(() => t.close())

  const stored = () =>
    t.db.rows<{ key_id: string; status: string }>(
      sql`select key_id, status, check_value from auth.vault_keys order by key_id`,
    )

  test('TV-06 a missing, short or wrong primary key is refused by name, without key bytes, and changes no row', async () => {
    const right = randomBytes(32)
    const wrong = randomBytes(32)
    await loadKeyRing(t.db, new Map([['k0', right]]))
    const before = await stored()
    expect(before).toMatchObject([{ key_id: 'k0', status: 'primary' }])

    const attempts: [ReadonlyMap<string, Buffer>, RegExp][] = [
      [new Map(), /no encryption key is configured/],
      [new Map([['k1', wrong]]), /"k0" is in use in this database but not configured/],
      [new Map([['k0', wrong]]), /"k0" is not the key that this database was sealed with/],
      [new Map([['k0', right.subarray(0, 16)]]), /"k0" has 16 bytes instead of 32/],
    ]
    for (const [keys, sentence] of attempts) {
      const error = await loadKeyRing(t.db, keys).then(
        () => undefined,
        (cause: unknown) => cause,
      )
      expect(error).toBeInstanceOf(KeyRingError)
      expect(String(error)).toMatch(sentence)
      for (const bytes of [right, wrong]) {
        for (const form of ['hex', 'base64', 'base64url'] as const)
          expect(String(error)).not.toContain(bytes.toString(form).slice(0, 12))
      }
    }
    expect(await stored()).toEqual(before)
  })

  test('a second key is remembered for decryption only, and the first stays primary', async () => {
    const other = await testDatabase()
    const k0 = randomBytes(32)
    await loadKeyRing(other.db, new Map([['k0', k0]]))
    const ring = await loadKeyRing(
      other.db,
      new Map([
        ['k9', randomBytes(32)],
        ['k0', k0],
      ]),
    )
    expect(ring.primaryId).toBe('k0')
    expect(await other.db.rows(sql`select key_id, status from auth.vault_keys order by key_id`)).toEqual([
      { key_id: 'k0', status: 'primary' },
      { key_id: 'k9', status: 'decrypt' },
    ])
    await other.close()
  })
})

describe('channel keys', () => {
  const ring = openKeyRing(new Map([['k0', randomBytes(32)]]), 'k0')
  const keys = openChannelKeys(ring)
  const strangers = openChannelKeys(openKeyRing(new Map([['k0', randomBytes(32)]]), 'k0'))

  test('a ref names its subscription, and only ours does', () => {
    const id = newId('sub')
    const ref = keys.mintRef(id)
    expect(keys.genuineRef(ref)).toBe(id)
    expect(strangers.genuineRef(ref)).toBeUndefined()
    for (let i = 0; i < ref.length; i += 1) {
      const changed = ref.slice(0, i) + (ref[i] === 'b' ? 'c' : 'b') + ref.slice(i + 1)
      expect(keys.genuineRef(changed)).toBeUndefined()
    }
    const lasts = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'].map(
      (last) => ref.slice(0, -1) + last,
    )
    expect(lasts.filter((changed) => keys.genuineRef(changed) !== undefined)).toEqual([ref])
    for (const hostile of ['', '.', '..', ref.slice(0, -1), `${ref}=`, `${ref}\n`, ref.toUpperCase()])
      expect(keys.genuineRef(hostile)).toBeUndefined()
  })

  test('a channel secret is under 90 characters, unique, and no ref passes for one', () => {
    const secrets = Array.from({ length: 1000 }, () => keys.mintChannelSecret().reveal())
    expect(new Set(secrets).size).toBe(1000)
    for (const secret of secrets) {
      expect(secret.length).toBeLessThan(90)
      expect(keys.genuineChannelSecret(secret)).toBe(true)
      expect(strangers.genuineChannelSecret(secret)).toBe(false)
    }
    expect(keys.genuineChannelSecret(keys.mintRef(newId('sub')))).toBe(false)
    expect(keys.genuineRef(secrets[0] ?? '')).toBeUndefined()
  })
})
