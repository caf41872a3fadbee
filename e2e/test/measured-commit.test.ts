/** A result says whether it is of a commit or of something beside it. */
import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { measuredCommit } from '../src/measured-commit.ts'

let folder: string
const git = (...words: string[]) => execFileSync('git', words, { cwd: folder }).toString().trim()
const write = (name: string, text: string) => writeFile(join(folder, name), text)

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'flovify-commit-'))
  await mkdir(join(folder, 'bench/results'), { recursive: true })
  await write('code.ts', 'one')
  await write('bench/results/ingest.json', '{}')
  git('init', '--quiet')
  git('add', '.')
  git('-c', 'user.name=a', '-c', 'user.email=a@example.com', 'commit', '--quiet', '--message', 'one')
})
afterEach(() => rm(folder, { recursive: true, force: true }))

test('a result of a tree with changes says so, wherever in it the run was begun; earlier results are no change', async () => {
  const commit = git('rev-parse', '--short', 'HEAD')
  await write('bench/results/ingest.json', '{"earlier":1}')
  await write('of-nobody.log', 'untracked')
  expect(measuredCommit(folder)).toBe(commit)
  await write('code.ts', 'two')
  expect(measuredCommit(folder)).toBe(`${commit} with changes`)
  expect(measuredCommit(join(folder, 'bench'))).toBe(`${commit} with changes`)
})
