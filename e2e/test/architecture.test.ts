import { globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { describe, expect, test } from 'vitest'

/**
 * Reads the imports of the whole tree and holds them against the rules of ARCHITECTURE.md. It looks at text, not types:
 * a rule here is one that a person can check with a search.
 */
const ROOT = new URL('../../', import.meta.url).pathname
const files = globSync('{providers,auth,bff,client,console,simulators,local}/src/**/*.{ts,tsx}', {
  cwd: ROOT,
}).map((file) => normalize(file))
const source = new Map(files.map((file) => [file, readFileSync(join(ROOT, file), 'utf8')]))

/** Code without comments, so that prose may name what code may not. */
const code = (file: string) =>
  (source.get(file) ?? '')
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/^\s*\/\/.*$/gm, '')
    .replace(/\s\/\/ .*$/gm, '')

interface Import {
  from: string
  to: string
  /** Erased before it runs. */
  typeOnly: boolean
}

const imports: Import[] = files.flatMap((from) => {
  const text = code(from)
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => {
    const to = match[1] ?? ''
    // the statement that this `from` closes begins at the last import or export before it
    const statement = text.slice(
      Math.max(0, ...['\nimport ', '\nexport '].map((word) => text.lastIndexOf(word, match.index))),
      match.index,
    )
    return {
      from,
      to: to.startsWith('.') ? normalize(join(dirname(from), to)) : to,
      typeOnly: /^\s*(import|export)\s+type\b/.test(statement),
    }
  })
})
const of = (prefix: string) => imports.filter((edge) => edge.from.startsWith(prefix))
const workspaceOf = (edge: Import) =>
  edge.to.startsWith('@flovify/') ? edge.to.split('/')[1] : edge.to.split('/')[0]
const WORKSPACES = ['providers', 'auth', 'bff', 'client', 'console', 'simulators', 'local']

const ROOMS = ['callers', 'connections', 'subscriptions', 'ingest', 'routing', 'delivery', 'proxy']
const BASEMENT = ['ledger', 'vault', 'work', 'db', 'audit', 'platform']
const placeOf = (file: string) => (file.startsWith('auth/src/') ? file.split('/')[2] : undefined)

describe('the house', () => {
  test('there is something to look at', () => {
    expect(files.length).toBeGreaterThan(60)
    expect(imports.length).toBeGreaterThan(200)
  })

  test('workspaces import in one direction only', () => {
    const allowed: Record<string, string[]> = {
      providers: [],
      auth: ['providers'],
      client: [],
      bff: ['client'],
      console: ['client'],
      simulators: [],
      local: ['simulators', 'client'],
    }
    const wrong = imports.filter((edge) => {
      const own = edge.from.split('/')[0] ?? ''
      const other = workspaceOf(edge) ?? ''
      return other !== own && WORKSPACES.includes(other) && !allowed[own]?.includes(other)
    })
    expect(wrong).toEqual([])
  })

  test('the console takes only types from the client: the rest goes over HTTP', () => {
    expect(of('console/').filter((edge) => edge.to.startsWith('@flovify/') && !edge.typeOnly)).toEqual([])
  })

  test('rooms import the basement and providers, never one another; the basement imports no room and no door', () => {
    const wrong = of('auth/src/').filter((edge) => {
      const from = placeOf(edge.from)
      const to = placeOf(edge.to)
      if (from === undefined || to === undefined || from === to) return false
      if (ROOMS.includes(from)) return !BASEMENT.includes(to)
      if (BASEMENT.includes(from)) return !BASEMENT.includes(to)
      if (from === 'http') return !(ROOMS.includes(to) || BASEMENT.includes(to))
      return false
    })
    expect(wrong).toEqual([])
  })

  test('nothing imports the place where the parts meet', () => {
    const meets = (file: string) =>
      /^auth\/src\/(compose|main|work-table|admin)\.ts$/.test(file) || file.startsWith('auth/src/admin/')
    const wrong = of('auth/src/').filter((edge) => meets(edge.to) && !meets(edge.from))
    expect(wrong).toEqual([])
  })

  test('there are no circles of code that runs', () => {
    const next = new Map<string, string[]>()
    for (const edge of imports)
      if (source.has(edge.to) && !edge.typeOnly)
        next.set(edge.from, [...(next.get(edge.from) ?? []), edge.to])
    const done = new Set<string>()
    const circles: string[] = []
    const visit = (file: string, path: string[]) => {
      if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(' → '))
      if (done.has(file) || path.includes(file)) return
      for (const to of next.get(file) ?? []) visit(to, [...path, file])
      done.add(file)
    }
    for (const file of files) visit(file, [])
    expect(circles).toEqual([])
  })

  test('SQL stands in stores and in the basement', () => {
    const wrong = files.filter((file) => {
      const place = placeOf(file)
      if (!code(file).includes('sql`')) return false
      return place === undefined || !(BASEMENT.includes(place) || /(^|[/-])store\.ts$/.test(file))
    })
    expect(wrong).toEqual([])
  })

  test('only config.ts reads the environment of Auth, and only the clock the time', () => {
    const auth = files.filter((file) => file.startsWith('auth/src/'))
    expect(auth.filter((file) => /process\.env/.test(code(file)))).toEqual(['auth/src/config.ts'])
    expect(auth.filter((file) => /Date\.now\(\)|new Date\(\)|performance\.now\(\)/.test(code(file)))).toEqual(
      ['auth/src/platform/clock.ts'],
    )
    expect(
      files.filter(
        (file) =>
          file.startsWith('providers/src/') && /process\.env|Date\.now\(\)|new Date\(\)/.test(code(file)),
      ),
    ).toEqual([])
  })

  test("a provider's name occurs outside its own folder only in the catalogue", () => {
    const names = /microsoft|google|gmail|outlook|graph\b/i
    const wrong = files.filter((file) => {
      if (!/^(providers|auth|bff|client)\/src\//.test(file)) return false
      if (/^providers\/src\/(microsoft|google)\//.test(file) || file === 'providers/src/catalogue.ts')
        return false
      return names.test(code(file))
    })
    expect(wrong).toEqual([])
  })

  test('both providers have the same set of files; what only one of them has lies in a folder of its own', () => {
    const set = (id: string) =>
      globSync(`providers/src/${id}/*`, { cwd: ROOT, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map(({ name }) => name)
        .sort()
    expect(set('microsoft')).toEqual(set('google'))
    expect(set('microsoft')).toEqual(
      expect.arrayContaining([
        'README.md',
        'failure.ts',
        'icon.svg',
        'index.ts',
        'oauth.ts',
        'settings.ts',
        'setup.md',
        'subscription.ts',
        'webhook.ts',
      ]),
    )
  })

  test('files are small and have names', () => {
    const long = [...source].filter(([, text]) => text.split('\n').length > 251).map(([file]) => file)
    expect(long).toEqual([])
    expect(
      files.filter((file) =>
        /(^|\/)(utils?|helpers?|common|shared|misc|manager|service)(\/|\.tsx?$)/.test(file),
      ),
    ).toEqual([])
  })

  test('nothing is skipped, loosened or left for later', () => {
    const all = globSync(
      '{providers,auth,bff,client,console,simulators,local,e2e,bench}/{src,test}/**/*.{ts,tsx}',
      { cwd: ROOT },
    )
    const marks = new RegExp(
      [
        '\\b(TO',
        'DO|FIX',
        'ME|XX',
        'X|HA',
        'CK)\\b|\\.(sk',
        'ip|on',
        'ly|to',
        'do)\\(|@ts-(ignore|nocheck)|\\bas an',
        'y\\b',
      ].join(''),
    )
    expect(all.filter((file) => marks.test(readFileSync(join(ROOT, file), 'utf8')))).toEqual([])
  })
})
