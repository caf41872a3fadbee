/**
 * Takes guards out of a copy of the repository, one at a time, and runs the tests that should notice. A guard that nobody
 * misses is worth nothing: either its test is missing, or it is. The repository itself is never changed.
 */
import { spawn } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { FaultResult, Print } from '../faults.ts'

export interface Mutant {
  /** What is true once the guard is gone. */
  readonly name: string
  /** Below the repository's root, as are the tests. */
  readonly file: string
  /** Stands there exactly once. */
  readonly from: string
  readonly to: string
  /** At least one test of them must fail. */
  readonly tests: readonly string[]
}

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const WORKSPACES = ['providers', 'auth', 'client', 'simulators', 'local', 'e2e']
/** A test that waits in vain is as good as one that fails, but nobody waits for ever. */
const PATIENCE_MS = 240_000

/** @throws when the text does not stand in the file exactly once: the list has to be kept true */
export async function mutated({ name, file, from, to }: Mutant, root = ROOT): Promise<string> {
  const text = await readFile(join(root, file), 'utf8')
  const places = text.split(from).length - 1
  if (places !== 1) throw new Error(`${name}: what it takes away stands ${places} times in ${file}`)
  return text.replace(from, () => to)
}

/** Each mutant must be caught, and the tests that catch them must pass without it. */
export async function runMutants(mutants: readonly Mutant[], print: Print): Promise<FaultResult> {
  const copy = await copyOfRepository()
  const problems: string[] = []
  try {
    const files = [...new Set(mutants.flatMap(({ tests }) => tests))]
    const whole = await outcomeOf(copy, files, print)
    if (whole !== 'passed')
      return { problems: [`without any mutant the tests ended as: ${whole}`], figures: {} }
    for (const mutant of mutants) {
      const path = join(copy, mutant.file)
      const original = await readFile(path, 'utf8')
      await writeFile(path, await mutated(mutant, copy))
      const outcome = await outcomeOf(copy, mutant.tests)
      await writeFile(path, original)
      print(`${outcome === 'failed' ? 'caught' : `NOT CAUGHT (${outcome})`}: ${mutant.name}`)
      if (outcome !== 'failed') problems.push(`${mutant.name}: the tests ${outcome}`)
    }
  } finally {
    await rm(copy, { recursive: true, force: true })
  }
  return { problems, figures: { mutants: mutants.length, caught: mutants.length - problems.length } }
}

/** Its packages are the installed ones, its workspaces its own. */
async function copyOfRepository(): Promise<string> {
  const copy = await mkdtemp(join(tmpdir(), 'flovify-mutants-'))
  const isSource = (source: string) => !['node_modules', 'dist', 'results'].includes(basename(source))
  for (const name of [...WORKSPACES, 'package.json', 'tsconfig.json', 'vitest.config.ts'])
    await cp(join(ROOT, name), join(copy, name), { recursive: true, filter: isSource })
  const modules = join(ROOT, 'node_modules')
  await mkdir(join(copy, 'node_modules', '@flovify'), { recursive: true })
  for (const name of await readdir(modules))
    if (name !== '@flovify') await symlink(join(modules, name), join(copy, 'node_modules', name))
  for (const name of WORKSPACES) await symlink(join(copy, name), join(copy, 'node_modules', '@flovify', name))
  return copy
}

type Outcome = 'passed' | 'failed' | 'could not be run'

/** Failed: a test said so. A file that cannot be read proves nothing. @param tell what failed, when nothing should */
async function outcomeOf(copy: string, files: readonly string[], tell?: Print): Promise<Outcome> {
  const runner = join('node_modules', 'vitest', 'vitest.mjs')
  const child = spawn(process.execPath, [runner, 'run', '--no-color', '--bail', '1', ...files], {
    cwd: copy,
    stdio: ['ignore', 'pipe', 'pipe'],
    signal: AbortSignal.timeout(PATIENCE_MS),
    killSignal: 'SIGTERM',
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      said += chunk.toString()
    })
  child.on('error', () => {})
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  if (code === 0) return 'passed'
  for (const line of said.split('\n')) if (/^\s*(×|FAIL|→)|Error: /.test(line)) tell?.(line)
  return /^\s*Tests\s.*\b\d+ failed/m.test(said) ? 'failed' : 'could not be run'
}
