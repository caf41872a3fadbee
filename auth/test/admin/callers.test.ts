/** The commands for callers, as the operator runs them: real processes on a real database. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { compileCache } from '../../../local/src/child.ts'
import { sql } from '../../src/db/sql.ts'
import { ask } from '../http/wire.ts'
import { openWorld, type World } from '../world.ts'

const ADMIN = fileURLToPath(new URL('../../src/admin.ts', import.meta.url))
let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(() => world.close())

function admin(...words: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, [ADMIN, ...words], {
    env: { ...compileCache(), PATH: process.env.PATH, ...world.environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let out = ''
  let err = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text
  })
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, out, err })))
}

const status = async (token: string, path = '/internal/connections') =>
  (await ask(world.internalPort, { path, headers: { 'x-service-token': token } })).status

test('IA-03 a caller is made, works, is rotated with overlap and revoked; its tokens are printed once and stored nowhere', async () => {
  const made = await admin(
    'callers',
    'create',
    'n8n',
    '--permissions',
    'connections:read',
    '--providers',
    'google',
  )
  expect([made.code, made.err]).toEqual([0, ''])
  const token = /^fcs_[A-Za-z0-9_-]{43}$/m.exec(made.out)?.[0] ?? ''
  expect([await status(token), await status(token, '/internal/events')]).toEqual([200, 403])

  const rotated = await admin('callers', 'rotate', 'n8n', '--overlap', '2h')
  const next = /^fcs_[A-Za-z0-9_-]{43}$/m.exec(rotated.out)?.[0] ?? ''
  expect(rotated.out).toMatch(/The earlier token is valid until 20\d\d-/)
  expect([await status(token), await status(next)]).toEqual([200, 200])

  const list = await admin('callers', 'list')
  expect(list.out).toMatch(/^n8n {2}connections:read {2}provider google {2}2 valid token\(s\), one until 20/)
  expect(list.out).not.toContain('fcs_')

  expect((await admin('callers', 'revoke', 'n8n')).code).toBe(0)
  expect((await admin('callers', 'list')).out).toContain('revoked 20')
  const trail = await world.db.rows<{ actor: string; action: string }>(
    sql`select actor, action from auth.audit where subject = 'caller:n8n' and actor = 'admin-cli' order by id`,
  )
  expect(trail.map(({ action }) => action)).toEqual(['caller.created', 'caller.rotated', 'caller.revoked'])
})

test('IA-03 what is not said is not given, and what is said wrongly is refused', async () => {
  const made = await admin('callers', 'create', 'nothing', '--permissions', 'tokens:read')
  expect(made.out).toContain('This caller touches no connection')
  const wrong: string[][] = [
    ['create', 'x'],
    ['create', 'x', '--permissions', 'everything'],
    ['create', 'x', '--permissions', 'tokens:read,admin'],
    ['create', 'UPPER', '--permissions', 'proxy'],
    ['create', 'a b', '--permissions', 'proxy'],
    ['create', '--permissions', 'proxy'],
    ['create', 'x', '--permissions', 'proxy', '--all', '--users', '1'],
    ['create', 'x', '--permissions', 'proxy', '--everything'],
    ['rotate'],
    ['rotate', 'nothing', '--overlap', 'soon'],
    ['rotate', 'nothing', '--overlap', '31d'],
    ['revoke'],
  ]
  for (const words of wrong) expect([words, (await admin('callers', ...words)).code]).toEqual([words, 2])
  for (const words of [
    ['create', 'nothing', '--permissions', 'proxy'],
    ['rotate', 'nobody'],
    ['revoke', 'nobody'],
  ])
    expect([words, (await admin('callers', ...words)).code]).toEqual([words, 1])
  const names = await world.db.rows<{ name: string }>(sql`select name from auth.callers order by name`)
  expect(names.map(({ name }) => name)).toEqual(['n8n', 'nothing'])
})
