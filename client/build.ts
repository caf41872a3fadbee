/**
 * Builds what is published into `dist`: JavaScript and types, README, licence, and a package.json without the
 * workspace's private parts. Node strips no types inside node_modules, so sources cannot be published.
 * `npm run build -w client && npm pack ./client/dist`
 */
import { execFileSync } from 'node:child_process'
import { copyFile, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const HERE = dirname(fileURLToPath(import.meta.url))
const DIST = join(HERE, 'dist')

const own = JSON.parse(await readFile(join(HERE, 'package.json'), 'utf8')) as {
  name: string
  version: string
  license: string
}
const typescript = dirname(createRequire(import.meta.url).resolve('typescript/package.json'))

await rm(DIST, { recursive: true, force: true })
execFileSync(process.execPath, [join(typescript, 'bin', 'tsc'), '-p', join(HERE, 'tsconfig.build.json')], {
  stdio: 'inherit',
})
// the compiler rewrites imports in JavaScript, not in declarations
for (const name of (await readdir(DIST)).filter((file) => file.endsWith('.d.ts'))) {
  const text = await readFile(join(DIST, name), 'utf8')
  await writeFile(join(DIST, name), text.replace(/((?:from|import\()\s*')(\.\/[\w-]+)\.ts'/g, "$1$2.js'"))
}

const entry = (name: string) => ({ types: `./${name}.d.ts`, default: `./${name}.js` })
await writeFile(
  join(DIST, 'package.json'),
  `${JSON.stringify(
    {
      name: own.name,
      version: own.version,
      description: 'Typed client of Flovify Connect: tokens, connections, signatures',
      license: own.license,
      type: 'module',
      sideEffects: false,
      engines: { node: '>=20' },
      types: './index.d.ts',
      exports: { '.': entry('index'), './wire': entry('wire') },
      files: ['*.js', '*.d.ts'],
    },
    undefined,
    2,
  )}\n`,
)
await copyFile(join(HERE, 'README.md'), join(DIST, 'README.md'))
await copyFile(join(HERE, '..', 'LICENSE'), join(DIST, 'LICENSE'))
