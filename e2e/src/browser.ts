/**
 * A real Chromium for tests: one that is installed if it starts, otherwise the one from npm. It reaches nothing but
 * this machine: every other name is unknown to it. Web security is on, as a person has it.
 */
import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'
import { unpackChromium } from './chromium-files.ts'

const INSTALLED = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
]

const SWITCHES = [
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // The sandbox needs rights that root and most containers do not have; only pages of this machine are opened.
  '--no-sandbox',
]

interface Candidate {
  readonly executable: string
  readonly environment: Readonly<Record<string, string>>
}

/** @throws Error `no_browser` with what each candidate said */
export async function startBrowser(): Promise<Browser> {
  const failures: unknown[] = []
  for (const executable of INSTALLED.filter((path) => existsSync(path))) {
    const browser = await start({ executable, environment: {} }, failures)
    if (browser !== undefined) return browser
  }
  const files = await unpackChromium()
  const own = { executable: files.executable, environment: { FONTCONFIG_FILE: files.fontConfig } }
  const withLibraries = { ...own, environment: { ...own.environment, LD_LIBRARY_PATH: files.libraries } }
  const browser = (await start(own, failures)) ?? (await start(withLibraries, failures))
  if (browser !== undefined) return browser
  throw Object.assign(new Error('No Chromium starts on this machine.', { cause: failures }), {
    code: 'no_browser',
  })
}

async function start(candidate: Candidate, failures: unknown[]): Promise<Browser | undefined> {
  const { PATH = '', HOME = '', TMPDIR = '' } = process.env
  try {
    return await chromium.launch({
      executablePath: candidate.executable,
      args: SWITCHES,
      env: { PATH, HOME, ...(TMPDIR !== '' && { TMPDIR }), ...candidate.environment },
      timeout: 20_000,
    })
  } catch (error) {
    failures.push(error)
    return undefined
  }
}
