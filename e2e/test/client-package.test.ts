/**
 * The client as a stranger has it: packed, installed into an empty folder without a network, run by plain Node against
 * a running service. The programs are the examples of its README, as they stand there.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Secret } from '@flovify/providers'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createCaller } from '../../auth/src/callers/callers.ts'
import { sign, signingKey } from '../../auth/src/delivery/signature.ts'
import { signIn, until } from '../../auth/test/http/people.ts'
import { seedToken } from '../../auth/test/proxy/upstream.ts'
import { openWorld, type World } from '../../auth/test/world.ts'
import { freePort } from '../../local/src/free-port.ts'

const run = promisify(execFile)
const ROOT = new URL('../../', import.meta.url).pathname
const CLIENT = join(ROOT, 'client')
const npm = process.env.npm_execpath

let world: World
let folder: string
let examples: string[]
let environment: Record<string, string>
let connectionId: string
const children: ChildProcess[] = []

/** npm without a network, a cache or settings of this machine. */
const runNpm = (words: string[], cwd: string) => {
  const env = {
    PATH: process.env.PATH,
    HOME: folder,
    npm_config_offline: 'true',
    npm_config_cache: join(folder, 'cache'),
    npm_config_userconfig: join(folder, 'none'),
  }
  return npm === undefined
    ? run('npm', words, { cwd, env })
    : run(process.execPath, [npm, ...words], { cwd, env })
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'flovify-client-'))
  await run(process.execPath, [join(CLIENT, 'build.ts')])
  await runNpm(['pack', join(CLIENT, 'dist'), '--pack-destination', folder], folder)
  const tarball = (await readdir(folder)).find((name) => name.endsWith('.tgz')) ?? ''
  await writeFile(join(folder, 'package.json'), '{"name":"stranger","private":true}')
  await runNpm(['install', '--no-audit', '--no-fund', join(folder, tarball)], folder)

  const readme = await readFile(join(folder, 'node_modules/@flovify/client/README.md'), 'utf8')
  examples = [...readme.matchAll(/```js\n([\s\S]*?)```/g)].map((match) => match[1] ?? '')
  world = await openWorld()
  connectionId = await seedToken(world)
  const made = await createCaller(
    { db: world.db },
    {
      name: 'invoices',
      permissions: ['tokens:read', 'connections:read', 'events:read'],
      scope: { kind: 'limited', providers: ['google'], users: [], connections: [] },
    },
    'test',
  )
  environment = {
    FLOVIFY_URL: `http://127.0.0.1:${world.internalPort}`,
    FLOVIFY_TOKEN: made.kind === 'created' ? made.token : '',
  }
}, 120_000)
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL')
  await world.close()
  await rm(folder, { recursive: true, force: true })
})

async function start(example: number, more: Record<string, string>) {
  const file = join(folder, `example-${example}.mjs`)
  await writeFile(file, examples[example] ?? '')
  const child = spawn(process.execPath, [file], {
    cwd: folder,
    env: { PATH: process.env.PATH, ...environment, ...more },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  children.push(child)
  const said = { out: '', err: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said.out += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said.err += text
  })
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  return { said, ended }
}

async function ownerOf(id: string): Promise<string> {
  const list = await fetch(`${environment.FLOVIFY_URL}/internal/connections`, {
    headers: { 'x-service-token': environment.FLOVIFY_TOKEN ?? '' },
  })
  const { items } = (await list.json()) as { items: { id: string; user_id: string }[] }
  return items.find((item) => item.id === id)?.user_id ?? ''
}

test('the package holds JavaScript and types, no source, and needs nothing else', async () => {
  const installed = join(folder, 'node_modules')
  expect((await readdir(installed)).filter((name) => !name.startsWith('.'))).toEqual(['@flovify'])
  const files = await readdir(join(installed, '@flovify/client'))
  expect(files).toEqual(
    expect.arrayContaining(['index.js', 'index.d.ts', 'wire.d.ts', 'README.md', 'LICENSE']),
  )
  expect(files.filter((name) => /(?<!\.d)\.ts$|test/.test(name))).toEqual([])
  const manifest = await readFile(join(installed, '@flovify/client/package.json'), 'utf8')
  expect(JSON.parse(manifest)).not.toHaveProperty('dependencies')
})

test('its types are right for a strict reader who checks libraries too', async () => {
  const program = `import { serviceClient, verifySignature, ConnectError, type TokenView } from '@flovify/client'
import type { ConnectionView } from '@flovify/client/wire'
const flovify = serviceClient({ baseUrl: 'http://127.0.0.1:1', serviceToken: 's' })
export const token: Promise<TokenView> = flovify.token('con_a', { minValidSeconds: 60 })
export const connections: Promise<readonly ConnectionView[]> = flovify.connections()
export const kind: 'genuine' | 'refused' = verifySignature({ headers: {}, body: '' }, []).kind
export const ids = (error: ConnectError): readonly string[] | undefined => error.connectionIds
// @ts-expect-error a number is no id
void flovify.token(1)
`
  await writeFile(join(folder, 'reader.ts'), program)
  const words = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022', '--lib', 'es2022,dom']
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  await run(process.execPath, [tsc, ...words, '--types', '', 'reader.ts'], { cwd: folder })
}, 60_000)

test('example 1 gets a token, and asks by id where a user has two accounts', async () => {
  const userId = await ownerOf(connectionId)
  const one = await start(0, { USER_ID: userId })
  expect([await one.ended, one.said.err]).toEqual([0, ''])
  expect(one.said.out).toMatch(/^a token of 8 characters until 20\d\d-/)
  const second = await seedToken(world, connectionId)
  const two = await start(0, { USER_ID: userId })
  expect([await two.ended, two.said.err]).toEqual([0, ''])
  expect(two.said.out).toMatch(/^a token of 8 characters until 20\d\d-/)
  expect(second).not.toBe(connectionId)
})

test('example 2 lists connections and is told when one is disconnected', async () => {
  const watching = await start(1, {})
  await until('it has listed', () => / connections\n/.test(watching.said.out))
  const gone: string[] = []
  // when exactly the watch began is its own business: one of these comes after that
  await until(
    'it was told',
    async () => {
      const id = await seedToken(world)
      const person = await signIn(world, `${id}@example.com`)
      const { status } = await fetch(`${environment.FLOVIFY_URL}/internal/connections/${id}`, {
        method: 'DELETE',
        headers: person.headers,
      })
      expect(status).toBe(200)
      gone.push(id)
      await new Promise((resolve) => setTimeout(resolve, 500))
      return watching.said.out.includes('.revoked')
    },
    20_000,
  )
  expect([await watching.ended, watching.said.err]).toEqual([0, ''])
  const told = /^ca\.flovify\.connection\.v1\.revoked (con_\w+)$/m.exec(watching.said.out)?.[1]
  expect(gone).toContain(told)
}, 40_000)

test('example 3 takes a delivery that is ours and refuses one that is not', async () => {
  const port = await freePort()
  const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`
  const receiver = await start(2, { PORT: String(port), FLOVIFY_SIGNING_SECRET: secret })
  await until('it listens', () => receiver.said.out.includes('listening'))
  const body = Buffer.from('{"type":"ca.flovify.connection.v1.created"}')
  const post = (bytes: Buffer) =>
    fetch(`http://127.0.0.1:${port}/`, {
      method: 'POST',
      headers: { ...sign([signingKey(new Secret(secret))], 'evt_a', new Date(), body) },
      body: new Uint8Array(bytes),
    })
  expect((await post(body)).status).toBe(204)
  expect((await post(Buffer.from('{"type":"forged"}'))).status).toBe(401)
  expect(receiver.said.out).toContain('evt_a ca.flovify.connection.v1.created\n')
  expect(receiver.said.out).not.toContain('forged')
})
