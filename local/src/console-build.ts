/**
 * Builds the console when nobody has, or when its sources are newer than the last build: `npm ci` builds nothing, and
 * `npm start` must work straight after it. It never changes a source.
 */

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { isRunning } from './postmaster.ts'
import { StartError } from './start-error.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const CONSOLE = join(ROOT, 'console')
const LOCK = join(ROOT, 'node_modules', '.cache', 'flovify-console.lock')
const LOCK_PATIENCE_MS = 60_000
const BUILT = join(CONSOLE, 'dist', 'index.html')

/** @throws StartError `console_not_built` with the builder's last lines */
export async function buildConsole(onProgress: (line: string) => void): Promise<void> {
  if (await isBuilt()) return
  await using _ = await takeLock()
  if (await isBuilt()) return
  onProgress('Console: building the pages (only after a change or on the first start)')
  const { code, output } = await runBuild()
  if (code === 0 && existsSync(BUILT)) return
  const lines = output.trim().split('\n').slice(-8).join('\n  ')
  throw new StartError(
    'console_not_built',
    `The console could not be built (npm run build -w console):\n  ${lines}`,
  )
}

/** Two stacks on one checkout, as in the tests, must not build into one folder at the same time. */
async function takeLock(): Promise<AsyncDisposable> {
  await mkdir(dirname(LOCK), { recursive: true })
  for (const end = Date.now() + LOCK_PATIENCE_MS; ; await sleep(100)) {
    try {
      await writeFile(LOCK, String(process.pid), { flag: 'wx' })
      return { [Symbol.asyncDispose]: () => rm(LOCK, { force: true }) }
    } catch (error) {
      const holder = Number(await readFile(LOCK, 'utf8').catch(() => ''))
      if (holder > 0 && !isRunning(holder)) await rm(LOCK, { force: true })
      else if (Date.now() > end)
        throw new StartError(
          'console_not_built',
          `Another process has been building the console for too long: end it, or remove ${LOCK}.`,
          { cause: error },
        )
    }
  }
}

async function isBuilt(): Promise<boolean> {
  if (!existsSync(BUILT)) return false
  const built = (await stat(BUILT)).mtimeMs
  const files = await readdir(join(CONSOLE, 'src'), { recursive: true })
  const sources = [...files.map((file) => join('src', file)), 'package.json', 'index.html', 'vite.config.ts']
  for (const file of sources) {
    const path = join(CONSOLE, file)
    if (existsSync(path) && (await stat(path)).mtimeMs > built) return false
  }
  return true
}

/** Through the npm that runs us where there is one, so that both are of the same version. */
async function runBuild(): Promise<{ code: number | null; output: string }> {
  const npm = process.env.npm_execpath
  const [file, ...first] = npm === undefined ? ['npm'] : [process.execPath, npm]
  const child = spawn(file ?? 'npm', [...first, 'run', 'build', '-w', 'console'], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-16_384)
    })
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ code: null, output: error.message }))
    child.once('close', (code) => resolve({ code, output }))
  })
}
