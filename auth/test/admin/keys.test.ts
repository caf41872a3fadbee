import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { seedTokens } from '../../../e2e/src/seed-tokens.ts'
import { compileCache } from '../../../local/src/child.ts'
import { sql } from '../../src/db/sql.ts'
import { loadKeyRing } from '../../src/vault/store.ts'
import { type TestDatabase, testDatabase } from '../database.ts'
import { processName } from '../vault/ground.ts'
import { digestOfTables, environmentOf } from '../world.ts'

const ADMIN = fileURLToPath(new URL('../../src/admin.ts', import.meta.url))
const text = (key: Buffer) => `${key.toString('base64url')}=`

const children = new Set<ChildProcess>()
function admin(environment: Readonly<Record<string, string>>, ...words: string[]) {
  const child = spawn(process.execPath, [ADMIN, ...words], {
    env: { ...compileCache(), ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  children.add(child)
  let out = ''
  let err = ''
  child.stdout.setEncoding('utf8').on('data', (more: string) => {
    out += more
  })
  child.stderr.setEncoding('utf8').on('data', (more: string) => {
    err += more
  })
  return new Promise<{ code: number | null; out: string; err: string }>((resolve) =>
    child.once('close', (code) => {
      children.delete(child)
      resolve({ code, out, err })
    }),
  )
}

describe('the commands of the key ring', () => {
  let t: TestDatabase
  const k0 = randomBytes(32)
  const k1 = randomBytes(32)
  const one = () => environmentOf(t.url, { ENCRYPTION_KEY: text(k0) })
  const both = () => ({ ...one(), ENCRYPTION_KEYS: `k1:${text(k1)}` })
  beforeAll(async () => {
    t = await testDatabase()
    await loadKeyRing(t.db, new Map([['k0', k0]]))
    await seedTokens({ databaseUrl: t.url, keys: new Map([['k0', k0]]), count: 5 })
  })
  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL')
    await t.close()
  })

  test('TV-05 each has its help, and the family too', async () => {
    const family = await admin({}, 'keys', '--help')
    expect(family.code).toBe(0)
    for (const word of ['status', 'add', 'promote', 'rewrap', 'disable']) {
      expect(family.out).toContain(`keys ${word}`)
      const own = await admin({}, 'keys', word, '--help')
      expect(own).toMatchObject({ code: 0, err: '' })
      expect(own.out).toContain(`Usage: npm run admin -- keys ${word}`)
    }
    expect((await admin({}, 'keys')).code).toBe(2)
    expect((await admin({}, 'keys', 'burn')).code).toBe(2)
  })

  test('TV-05 add prints a new key with the next id, stores nothing, and never the same twice', async () => {
    const before = await digestOfTables(t.db, [])
    const first = await admin(one(), 'keys', 'add')
    const second = await admin(one(), 'keys', 'add')
    expect([first.code, first.err]).toEqual([0, ''])
    expect(first.out).toMatch(/^k1:[\w-]{43}=\n/)
    expect(second.out.split('\n')[0]).not.toBe(first.out.split('\n')[0])
    expect((await admin(one(), 'keys', 'add', 'spring27')).out).toMatch(/^spring27:/)
    expect(await admin(one(), 'keys', 'add', 'k0')).toMatchObject({ code: 1, out: '' })
    expect((await admin(one(), 'keys', 'add', 'No_Id')).code).toBe(2)
    expect(await digestOfTables(t.db, [])).toEqual(before)
  })

  test('TV-05 status names keys, rows and processes, also where a key is missing or another one, and prints no key', async () => {
    await loadKeyRing(t.db, new Map([['k0', k0]]), processName())
    const here = await admin(both(), 'keys', 'status')
    expect(here.code).toBe(0)
    expect(here.out).toMatch(/^k0 +primary +here +oauth_tokens 5$/m)
    expect(here.out).toMatch(/^k1 +new /m)
    expect(here.out).toContain('holds k0, seals with k0')
    const missing = await admin(
      environmentOf(t.url, { ENCRYPTION_KEYS: `k1:${text(k1)}`, ENCRYPTION_KEY: undefined }),
      'keys',
      'status',
    )
    expect(missing.out).toMatch(/^k0 +primary +NOT HERE +oauth_tokens 5$/m)
    const other = await admin(environmentOf(t.url), 'keys', 'status')
    expect(other.out).toMatch(/^k0 +primary +OTHER BYTES HERE/m)
    for (const { out, err } of [here, missing, other])
      for (const key of [k0, k1])
        for (const form of ['base64url', 'hex'] as const) expect(out + err).not.toContain(key.toString(form))
  })

  test('TV-06 a command with a missing or wrong key ends with 1, names the key, and changes nothing', async () => {
    const before = await digestOfTables(t.db, [])
    const missing = environmentOf(t.url, { ENCRYPTION_KEYS: `k1:${text(k1)}`, ENCRYPTION_KEY: undefined })
    const wrong = environmentOf(t.url)
    for (const words of [['promote', 'k1'], ['rewrap']]) {
      const a = await admin(missing, 'keys', ...words)
      expect([a.code, a.err]).toEqual([1, expect.stringContaining('"k0" is in use in this database but not')])
      const b = await admin(wrong, 'keys', ...words)
      expect([b.code, b.err]).toEqual([1, expect.stringContaining('"k0" is not the key that this database')])
    }
    expect(await digestOfTables(t.db, [])).toEqual(before)
  })

  test('TV-05 the whole rotation, each refusal with its reason', async () => {
    expect(await admin(both(), 'keys', 'promote', 'k1')).toMatchObject({
      code: 1,
      err: expect.stringContaining('No process has reported a key "k1"'),
    })
    await loadKeyRing(
      t.db,
      new Map([
        ['k0', k0],
        ['k1', k1],
      ]),
    )
    const lacking = await admin(both(), 'keys', 'promote', 'k1')
    expect([lacking.code, lacking.err]).toEqual([1, expect.stringContaining('keys k0)')])
    await t.db.rows(sql`delete from auth.processes`)
    expect((await admin(both(), 'keys', 'promote', 'k1')).code).toBe(0)
    expect((await admin(both(), 'keys', 'promote')).code).toBe(2)
    expect((await admin(both(), 'keys', 'status')).out).toMatch(/^k0 +retiring +here +oauth_tokens 5$/m)
    expect(await admin(both(), 'keys', 'disable', 'k0')).toMatchObject({
      code: 1,
      err: expect.stringContaining('oauth_tokens: 5'),
    })
    for (const rate of ['0', '-1', 'fast', '1e9'])
      expect((await admin(both(), 'keys', 'rewrap', `--rate=${rate}`)).code).toBe(2)
    expect((await admin(both(), 'keys', 'rewrap')).out).toContain('Done: 5 rows are on key "k1"')
    expect((await admin(both(), 'keys', 'rewrap')).out).toContain('Every row is on key "k1"')
    expect((await admin(both(), 'keys', 'disable', 'k0')).code).toBe(0)
    expect((await admin(both(), 'keys', 'disable', 'k1')).err).toContain('is primary')
    const audited = await t.db.rows<{ action: string }>(
      sql`select action from auth.audit where action like 'key.%' order by id`,
    )
    expect(audited.map((row) => row.action)).toEqual(['key.promoted', 'key.rewrap_begun', 'key.disabled'])
    // the earlier key may leave the environment now
    const alone = environmentOf(t.url, { ENCRYPTION_KEYS: `k1:${text(k1)}`, ENCRYPTION_KEY: undefined })
    expect((await admin(alone, 'keys', 'rewrap', '--new-data-keys')).code).toBe(0)
  })
})
