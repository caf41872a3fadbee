/**
 * The Chromium of the package @sparticuz/chromium, unpacked once into `node_modules/.cache`, with its fonts and the
 * two libraries that a bare Linux lacks. Test files that start at the same moment do not meet half a browser: each
 * unpacks into a folder of its own and the first to finish wins. It never starts anything and uses none of the
 * package's own switches, which turn web security off.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'

export interface ChromiumFiles {
  readonly executable: string
  /** Libraries for machines without NSS and Expat. */
  readonly libraries: string
  readonly fontConfig: string
}

/** @throws when the package cannot be unpacked */
export async function unpackChromium(): Promise<ChromiumFiles> {
  const main = createRequire(import.meta.url).resolve('@sparticuz/chromium')
  const manifest = await readFile(join(dirname(dirname(main)), 'package.json'), 'utf8')
  const { version } = JSON.parse(manifest) as { version: string }
  const cache = fileURLToPath(new URL('../../node_modules/.cache/', import.meta.url))
  const folder = join(cache, `chromium-${version}`)
  if (!existsSync(folder)) await unpackInto(folder, cache, main)
  return {
    executable: join(folder, 'chromium'),
    libraries: join(folder, 'al2023', 'lib'),
    fontConfig: join(folder, 'fonts.conf'),
  }
}

async function unpackInto(folder: string, cache: string, main: string): Promise<void> {
  await mkdir(cache, { recursive: true })
  const draft = await mkdtemp(join(cache, 'chromium-draft-'))
  try {
    // The package unpacks into the temporary directory of its process, so it gets a process and a directory of its
    // own. The environment makes it believe that the libraries are needed.
    const program = `const { default: chromium } = await import(${JSON.stringify(pathToFileURL(main).href)})
await chromium.executablePath()`
    await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program], {
      env: { PATH: process.env.PATH, TMPDIR: draft, AWS_EXECUTION_ENV: 'AWS_Lambda_nodejs22.x' },
    })
    await writeFile(join(draft, 'fonts.conf'), fontConfig(folder))
    await rename(draft, folder).catch((error: unknown) => {
      // Another run was first.
      if (!existsSync(folder)) throw error
    })
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
}

/** Only the package's font: pictures of pages then look alike on every machine. */
function fontConfig(folder: string): string {
  return `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>${join(folder, 'fonts')}</dir>
  <cachedir>${join(folder, 'fonts-cache')}</cachedir>
</fontconfig>
`
}
