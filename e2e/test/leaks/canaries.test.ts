import { statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Hit, openSearcher, type Searcher } from '../../src/canaries.ts'
import { listFiles, type Medium, readMedium, readTables } from './media.ts'
import { type LeakWorld, PLANTED, playEverything, SEEDED } from './world.ts'

let world: LeakWorld
let searcher: Searcher

beforeAll(async () => {
  world = await playEverything()
  searcher = openSearcher(world.trail.secrets)
}, 120_000)

afterAll(() => world?.close())

/** What was found of the planted secret, and what was found beside it. */
function judge(hits: readonly Hit[]) {
  return {
    planted: hits.filter(({ name }) => name === PLANTED),
    leaked: hits.filter(({ name }) => name !== PLANTED),
  }
}

const searchAll = (media: readonly Medium[]) =>
  judge(media.flatMap(({ name, bytes }) => searcher.search(name, bytes)))

async function searchFiles(directory: string, names: readonly string[]) {
  const hits: Hit[] = []
  let bytes = 0
  for (const name of names) {
    const medium = await readMedium(directory, name)
    bytes += medium.bytes.length
    hits.push(...searcher.search(medium.name, medium.bytes))
  }
  return { ...judge(hits), bytes }
}

describe('the full run with canaries', () => {
  it('OP-01 really did everything that it is about', () => {
    const kinds = Map.groupBy(world.trail.secrets, ({ name }) => name)
    console.log('secrets:', Object.fromEntries([...kinds].map(([name, of]) => [name, of.length])))
    console.log('probes:', searcher.probes, 'forced errors:', world.forced, 'deliveries:', world.delivered)
    expect(kinds.get('access token in the vault')).toHaveLength(SEEDED)
    expect(kinds.get('refresh token in the vault')).toHaveLength(SEEDED)
    for (const name of [
      'authorization code',
      'access token',
      'refresh token',
      'id token',
      'pubsub token',
      'state',
      'nonce',
      'PKCE verifier',
      'ticket',
      'sign-in link',
      'session cookie',
      'platform session',
      'client secret',
      'destination secret',
      'clientState',
      'relay secret',
      'caller token',
      'channel secret',
      'SERVICE_SECRET',
      'ENCRYPTION_KEY',
      'database password',
    ])
      expect(kinds.get(name)?.length, name).toBeGreaterThan(0)
    expect(world.connected).toBe(2)
    expect(world.delivered).toBeGreaterThanOrEqual(8)
    expect(world.services).toEqual({ tokens: 4, proxied: 4, refused: 14 })
    expect(world.forced.provider).toBe(2 * 18)
    expect(world.forced.flow).toBe(14)
    expect(world.forced.door).toBeGreaterThan(45)
    expect(world.forced.receiver).toBeGreaterThan(1)
    expect(world.forced.database).toBeGreaterThan(5)
    expect(world.forced.start).toBe(6)
  })

  it('TV-01 OP-01 no secret stands in any table; clientState only in the notifications that Graph echoed it in', async () => {
    const tables = await readTables(world.stack.database.url)
    expect(tables.length).toBeGreaterThan(20)
    const { planted, leaked } = searchAll(tables)
    expect(planted.map(({ medium }) => medium)).toContain('leak_control.planted')
    expect(
      leaked.filter(
        ({ name, medium }) => !(name === 'clientState' && medium.startsWith('auth.notifications_')),
      ),
    ).toEqual([])
  })

  it('TV-01 no secret stands in the data directory, the WAL or a temporary file', async () => {
    const directory = join(world.stack.dataDir, 'postgres')
    const names = await listFiles(directory)
    const { planted, leaked, bytes } = await searchFiles(directory, names)
    console.log('data directory:', names.length, 'files,', bytes, 'bytes')
    const found = planted.map(({ medium }) => medium)
    // the planted one is found in each of the three, or the search would prove nothing
    expect(found.some((name) => /^base\/\d+\/\d+$/.test(name))).toBe(true)
    expect(found.some((name) => name.startsWith('pg_wal/'))).toBe(true)
    expect(found.some((name) => name.includes('pgsql_tmp'))).toBe(true)
    expect(leaked.filter(({ name }) => name !== 'clientState')).toEqual([])
  })

  it('OP-01 no secret stands in a log of Auth, the BFF, the simulators or PostgreSQL', async () => {
    const { logDir } = world.stack
    const names = await listFiles(logDir)
    expect(names.sort()).toEqual(
      expect.arrayContaining([
        'auth-refused.log',
        'auth.log',
        'bff.log',
        'planted.log',
        'postgres.log',
        'simulators.log',
      ]),
    )
    for (const name of ['auth.log', 'bff.log', 'postgres.log', 'auth-refused.log'])
      expect(statSync(join(logDir, name)).size, name).toBeGreaterThan(200)
    const { planted, leaked } = await searchFiles(logDir, names)
    expect(planted.map(({ medium }) => medium)).toEqual(['planted.log'])
    expect(leaked).toEqual([])
  })

  it('OP-01 no secret stands in an answer, an error page, /metrics or /openapi.json', () => {
    const { answers } = world.trail
    const names = answers.map(({ name }) => name).join('\n')
    for (const path of [
      '/metrics',
      '/openapi.json',
      '/auth/error',
      '/webhook/oauth/',
      '/bff/events',
      '/webhook/health',
    ])
      expect(names).toContain(path)
    const statuses = new Set(answers.map(({ name }) => Number(name.split(' ')[1])))
    expect([...statuses]).toEqual(
      expect.arrayContaining([200, 201, 204, 303, 400, 401, 403, 404, 405, 409, 413, 415, 502, 503]),
    )
    const { planted, leaked } = searchAll(answers)
    expect(planted.map(({ medium }) => medium)).toEqual(['answer 200 to GET /planted'])
    expect(leaked).toEqual([])
  })

  it('OP-01 what is delivered to the receiver holds no secret', () => {
    const bodies = world.stack.receiver.received().map(({ body }) => Buffer.from(body))
    expect(bodies.length).toBeGreaterThan(0)
    expect(bodies.flatMap((bytes) => searcher.search('delivery', bytes))).toEqual([])
  })

  it('TV-01 the keys stand in the local secrets file alone, which nobody else may read', async () => {
    const { dataDir } = world.stack
    const names = (await listFiles(dataDir)).filter((name) => !/^(postgres|logs)\//.test(name))
    const { leaked } = await searchFiles(dataDir, names)
    const where = new Map(leaked.map(({ name, medium }) => [`${name} in ${medium}`, medium]))
    expect([...where.keys()].sort()).toEqual([
      'ENCRYPTION_KEY in secrets.json',
      'SERVICE_SECRET in secrets.json',
      'client secret in secrets.json',
      'control token in control-token',
      'database password in postgres.password',
    ])
    for (const file of where.values()) expect(statSync(join(dataDir, file)).mode & 0o077, file).toBe(0)
  })

  it('OP-02 CR, LF, ANSI and 64 KB from outside stay single, capped lines of JSON', async () => {
    expect(world.forced.hostile).toBeGreaterThan(10)
    for (const name of ['auth.log', 'bff.log']) {
      const text = await readFile(join(world.stack.logDir, name), 'utf8')
      const lines = text.split('\n').filter((line) => line !== '')
      expect(lines.length).toBeGreaterThan(20)
      for (const line of lines) {
        const entry = JSON.parse(line) as Record<string, unknown>
        expect(entry).not.toHaveProperty('forged')
        expect(line.length).toBeLessThan(4_096)
        // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
        expect(line).not.toMatch(/[\u0000-\u001f\u007f\u2028\u2029]/)
      }
    }
  })
})
