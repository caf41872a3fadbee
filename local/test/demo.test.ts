import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { play } from '../src/demo.ts'
import { type Stack, startStack } from '../src/stack.ts'

const LAUNCH = fileURLToPath(new URL('../src/launch.cjs', import.meta.url))
let directory: string
let stack: Stack | undefined

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'flovify-demo-test-'))
})

afterEach(async () => {
  await stack?.stop()
  stack = undefined
  await rm(directory, { recursive: true, force: true })
})

describe('npm run demo', () => {
  it('ends with 0 and a timeline for each provider', async () => {
    const { PATH, HOME } = process.env
    const child = spawn(process.execPath, [LAUNCH, 'demo'], {
      env: { PATH, HOME, TMPDIR: directory },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
    const [code] = await once(child, 'close')
    expect(output).toMatch(/The receiver verified every delivery: (\d+) of \1\.\n$/)
    expect(code).toBe(0)
    for (const part of ['Microsoft 365', 'Google Workspace'])
      expect(output).toMatch(
        new RegExp(
          `${part}\\n( +\\d+ ms {2}.+\\n)*.*push received.*\\n.*verified and stored.*\\n.*\\n.*delivered`,
        ),
      )
  }, 90_000)

  it('DO-04 fails when the receiver refused a single delivery, and no token gets into a log', async () => {
    stack = await startStack({ dataDir: join(directory, 'data') })
    const forged = { 'webhook-id': 'evt_1', 'webhook-timestamp': '1', 'webhook-signature': 'v1,AAAA' }
    await fetch(stack.receiver.hookUrl, { method: 'POST', body: '{}', headers: forged })
    await expect(play(stack, () => undefined)).rejects.toMatchObject({
      code: 'demo_incomplete',
      message: expect.stringContaining('refused 1 of'),
    })

    const response = await fetch(`${stack.urls.control}/issued`, {
      headers: { authorization: `Bearer ${stack.secrets.controlToken}` },
    })
    const { issued } = (await response.json()) as { issued: { value: string }[] }
    const values = issued.map((one) => one.value).filter((value) => value.length > 10)
    expect(values.length).toBeGreaterThan(4)
    const secrets = [...values, ...Object.values(stack.secrets)]
    for (const name of ['auth', 'bff', 'simulators', 'postgres']) {
      const log = await readFile(join(stack.logDir, `${name}.log`), 'utf8')
      for (const secret of secrets) expect(log.includes(secret), `${name}.log holds a secret`).toBe(false)
    }
  }, 90_000)
})
