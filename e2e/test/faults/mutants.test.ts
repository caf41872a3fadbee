/** The list of guards is true, and what takes them away works: the long form of it is `npm run faults -- mutants`. */
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { mutated, runMutants } from '../../src/mutants/mutant.ts'
import { RECEIVING } from '../../src/mutants/receiving.ts'

const ROOT = new URL('../../../', import.meta.url)

describe('RE-16 the guards of receiving', () => {
  test.each(RECEIVING.map((mutant) => [mutant.name, mutant] as const))(
    '%s: the guard stands where the list says, and so do its tests',
    async (_name, mutant) => {
      expect(await mutated(mutant)).not.toBe(readFileSync(new URL(mutant.file, ROOT), 'utf8'))
      for (const file of mutant.tests) expect(existsSync(fileURLToPath(new URL(file, ROOT)))).toBe(true)
    },
  )

  test('a guard that is gone is missed, and a change that changes nothing is told (short form of npm run faults -- mutants)', async () => {
    const [guard] = RECEIVING
    if (guard === undefined) throw new Error('no guards')
    const harmless = { ...guard, name: 'harmless', to: `${guard.from} ` }
    const broken = { ...guard, name: 'broken', to: 'return (' }
    const said: string[] = []
    const { problems, figures } = await runMutants([guard, harmless, broken], (line) => said.push(line))
    expect(said[0]).toBe(`caught: ${guard.name}`)
    expect(problems).toEqual(['harmless: the tests passed', 'broken: the tests could not be run'])
    expect(figures).toEqual({ mutants: 3, caught: 1 })
  }, 240_000)
})
