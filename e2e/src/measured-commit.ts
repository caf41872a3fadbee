/**
 * Which code a result is of: the commit, and whether tracked files differed from it. Ask before the run: the tree may change
 * meanwhile. Results of earlier runs are no difference, or only the first of several could be of a commit.
 */
import { execFileSync } from 'node:child_process'

const RESULTS = [':(top,exclude)bench/results', ':(top,exclude)e2e/results']

/** @param folder inside the repository */
export function measuredCommit(folder = process.cwd()): string {
  const git = (...words: string[]) => execFileSync('git', words, { cwd: folder }).toString().trim()
  const commit = git('rev-parse', '--short', 'HEAD')
  const changes = git('status', '--porcelain', '--untracked-files=no', '--', ':/', ...RESULTS)
  return changes === '' ? commit : `${commit} with changes`
}
