/** Ports of programs that start beside each other: never one twice, and none that an outgoing connection may get. */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { freePort } from '../src/free-port.ts'

const run = promisify(execFile)
const ASK = `
  import { freePort } from ${JSON.stringify(new URL('../src/free-port.ts', import.meta.url).href)}
  const ports = await Promise.all(Array.from({ length: 40 }, freePort))
  console.log(JSON.stringify(ports))
  process.stdin.resume() // its ports are its own until it ends
`

test('processes that ask at the same time get ports of their own', async () => {
  const asking = Array.from({ length: 6 }, () =>
    run(process.execPath, ['--input-type=module', '--eval', ASK]),
  )
  await Promise.all(asking.map(({ child }) => child.stdout && once(child.stdout, 'data')))
  for (const { child } of asking) child.stdin?.end()
  const answers = await Promise.all(asking)
  const ports = answers.flatMap(({ stdout }) => JSON.parse(stdout) as number[])
  expect(ports).toHaveLength(240)
  expect(new Set(ports).size).toBe(240)
})

test('a port is below those of outgoing connections, and a process that needs many gets another block', async () => {
  const ports = await Promise.all(Array.from({ length: 150 }, freePort))
  expect(new Set(ports).size).toBe(150)
  expect(Math.min(...ports)).toBeGreaterThan(10_000)
  expect(Math.max(...ports)).toBeLessThan(32_768)
})
