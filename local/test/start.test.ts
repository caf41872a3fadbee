import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { freePort } from '../src/free-port.ts'
import { claimPorts } from '../src/run-marker.ts'
import { keepSecrets } from '../src/secrets.ts'
import {
  authEnvironment,
  bffEnvironment,
  type Environment,
  freePorts,
  portsFrom,
  simulatedProviders,
  simulatorsEnvironment,
} from '../src/settings.ts'

const LAUNCH = fileURLToPath(new URL('../src/launch.cjs', import.meta.url))
let directory: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'flovify-start-'))
})

afterEach(async () => {
  await rm(directory, { recursive: true, force: true })
})

async function run(args: string[], environment: Environment = {}) {
  const { PATH, HOME } = process.env
  const child = spawn(process.execPath, args, {
    env: { PATH, HOME, DATA_DIR: join(directory, 'data'), ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  const [code] = await once(child, 'close')
  return { code, output }
}

async function portVariables(): Promise<Record<string, string>> {
  const ports = await freePorts()
  return {
    AUTH_PORT: String(ports.auth),
    AUTH_INTERNAL_PORT: String(ports.authInternal),
    BFF_PORT: String(ports.bff),
    RECEIVER_PORT: String(ports.receiver),
    MICROSOFT_SIMULATOR_PORT: String(ports.microsoft),
    GOOGLE_SIMULATOR_PORT: String(ports.google),
    SIMULATORS_CONTROL_PORT: String(ports.control),
  }
}

describe('npm start', () => {
  it('says in one sentence that Node is too old', async () => {
    const old = `Object.defineProperty(process.versions, 'node', { value: '20.1.0' })
      process.argv[2] = 'start'
      require(${JSON.stringify(LAUNCH)})`
    const { code, output } = await run(['--eval', old, 'x', 'x'])
    expect(code).toBe(1)
    expect(output).toMatch(/^Flovify Connect needs Node 24 or newer, this is Node 20\.1\.0: [^\n]+\n$/)
  })

  it('loads nothing before that check that an old Node could not read', async () => {
    const source = await readFile(LAUNCH, 'utf8')
    expect(source.slice(0, source.indexOf('needs Node'))).not.toMatch(/import|require|\?\.|\?\?|await/)
  })

  it('explains itself', async () => {
    const { code, output } = await run([LAUNCH, 'start', '--help'])
    expect(code).toBe(0)
    expect(output).toContain('DATABASE_URL')
    expect((await run([LAUNCH, 'start', '--what'])).code).toBe(1)
  })

  it('names a taken port and its variable', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    try {
      const { code, output } = await run([LAUNCH, 'start'], {
        ...(await portVariables()),
        RECEIVER_PORT: String(port),
      })
      expect(code).toBe(1)
      expect(output).toContain(`Port ${port} is taken by another process`)
      expect(output).toContain('RECEIVER_PORT')
      expect(output).not.toContain('    at ')
    } finally {
      server.close()
    }
  })

  it('says that DATABASE_URL leads nowhere, without its password', async () => {
    const port = await freePort()
    const { code, output } = await run([LAUNCH, 'start'], {
      ...(await portVariables()),
      DATABASE_URL: `postgres://somebody:canary-password@127.0.0.1:${port}/flovify`,
    })
    expect(code).toBe(1)
    expect(output).toContain(`The database of DATABASE_URL (127.0.0.1:${port}/flovify) cannot be reached`)
    expect(output).not.toContain('canary-password')
    expect(output).not.toContain('    at ')
  })

  it.each(['0', '65536', 'eighty', '-1'])('refuses the port "%s"', async (value) => {
    expect(() => portsFrom({ BFF_PORT: value })).toThrow(/BFF_PORT must be a port/)
  })
})

describe('the ports of a start', () => {
  const silent = () => undefined

  async function occupy(port: number) {
    const server = createServer().listen(port, '127.0.0.1')
    await once(server, 'listening')
    return server
  }

  /** The number of a process that has just ended. */
  async function deadPid(): Promise<number> {
    const child = spawn(process.execPath, ['--version'], { stdio: 'ignore' })
    await once(child, 'close')
    return child.pid ?? 0
  }

  it('are waited for when the last run was killed, whose programs still drain', async () => {
    const ports = await freePorts()
    await writeFile(join(directory, 'run.json'), JSON.stringify({ pid: await deadPid() }))
    const server = await occupy(ports.auth)
    setTimeout(() => server.close(), 700)
    const marker = await claimPorts(directory, ports, ['bff', 'auth'], silent)
    expect(JSON.parse(await readFile(join(directory, 'run.json'), 'utf8'))).toEqual({ pid: process.pid })
    await marker.remove()
    await expect(stat(join(directory, 'run.json'))).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('are refused at once after a run that ended in order', async () => {
    const ports = await freePorts()
    const server = await occupy(ports.auth)
    try {
      const began = Date.now()
      await expect(claimPorts(directory, ports, ['bff', 'auth'], silent)).rejects.toMatchObject({
        code: 'port_taken',
        message: expect.stringContaining('AUTH_PORT'),
      })
      expect(Date.now() - began).toBeLessThan(2_000)
    } finally {
      server.close()
    }
  })
})

describe('the secrets of local mode', () => {
  it('are made once, kept with mode 600, and have the forms that Auth wants', async () => {
    const file = join(directory, 'data', 'secrets.json')
    const first = await keepSecrets(file, {})
    expect(await keepSecrets(file, {})).toEqual(first)
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    expect(first.encryptionKey).toMatch(/^[A-Za-z0-9_-]{43}=$/)
    expect(Buffer.from(first.encryptionKey, 'base64url')).toHaveLength(32)
    expect(first.serviceSecret.length).toBeGreaterThanOrEqual(32)
  })

  it('give way to the environment, whose values are not written down', async () => {
    const file = join(directory, 'secrets.json')
    const secrets = await keepSecrets(file, { ENCRYPTION_KEY: 'canary-key' })
    expect(secrets.encryptionKey).toBe('canary-key')
    expect(await readFile(file, 'utf8')).not.toContain('canary-key')
  })

  it('are not silently replaced when the file is damaged', async () => {
    const file = join(directory, 'secrets.json')
    await writeFile(file, '{"encryptionKey":""}')
    await expect(keepSecrets(file, {})).rejects.toMatchObject({ code: 'secrets_file' })
    expect(await readFile(file, 'utf8')).toBe('{"encryptionKey":""}')
  })
})

describe('what each process is given', () => {
  const environment = {
    DATABASE_URL: 'canary-db',
    GOOGLE_CLIENT_ID: 'real',
    GOOGLE_CLIENT_SECRET: 'canary-google',
  }

  async function parts() {
    const secrets = await keepSecrets(join(directory, 'secrets.json'), {})
    return { ports: await freePorts(), secrets, controlToken: 'c', databaseUrl: 'canary-db' }
  }

  it('simulates exactly the providers without a client id', async () => {
    expect(simulatedProviders({})).toEqual(['microsoft', 'google'])
    expect(simulatedProviders(environment)).toEqual(['microsoft'])
    const given = await parts()
    const auth = authEnvironment(environment, given)
    expect(auth.MICROSOFT_LOGIN_URL).toBe(`http://127.0.0.1:${given.ports.microsoft}`)
    expect(auth.GOOGLE_CLIENT_ID).toBe('real')
    expect(auth.GOOGLE_ACCOUNTS_URL).toBeUndefined()
    const config: unknown = JSON.parse(simulatorsEnvironment(environment, given).SIMULATORS_CONFIG ?? '')
    expect(config).toHaveProperty('microsoft')
    expect(config).not.toHaveProperty('google')
  })

  it('DO-01 lets deliveries reach nothing on this machine but the receiver’s hook', async () => {
    const given = await parts()
    expect(authEnvironment({}, given).EGRESS_ALLOW).toBe(`127.0.0.1:${given.ports.receiver}/hooks`)
  })

  it('keeps the database, the keys and the providers’ secrets from the BFF and the simulators', async () => {
    const given = await parts()
    const hidden = [given.secrets.encryptionKey, 'canary-db', 'canary-google']
    const bff = JSON.stringify(bffEnvironment(environment, given))
    const simulators = JSON.stringify(simulatorsEnvironment(environment, given))
    for (const value of hidden) expect(bff + simulators).not.toContain(value)
    expect(simulators).not.toContain(given.secrets.serviceSecret)
  })
})
