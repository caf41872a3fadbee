/**
 * Everything that a browser holds or got from the console, as text, and a search in it. A provider's own pages and its
 * way back to our callback carry codes by design: they are not the console's and are left out.
 */
import type { Person } from './world.ts'

export interface Sink {
  readonly source:
    | 'localStorage'
    | 'sessionStorage'
    | 'IndexedDB'
    | 'document'
    | 'address'
    | 'answer'
    | 'bundle'
  readonly name: string
  readonly text: string
}

const STORED = `(async () => {
  const databases = await indexedDB.databases()
  const contents = await Promise.all(databases.map(({ name }) => new Promise((resolve, reject) => {
    const opening = indexedDB.open(name)
    opening.onerror = () => reject(opening.error)
    opening.onsuccess = async () => {
      const stores = [...opening.result.objectStoreNames]
      resolve(await Promise.all(stores.map((store) => new Promise((done) => {
        const all = opening.result.transaction(store).objectStore(store).getAll()
        all.onsuccess = () => done(all.result)
      }))))
    }
  })))
  return {
    localStorage: JSON.stringify({ ...localStorage }),
    sessionStorage: JSON.stringify({ ...sessionStorage }),
    IndexedDB: JSON.stringify([databases, contents]),
    document: document.documentElement.outerHTML,
    address: location.href + JSON.stringify(history.state),
  }
})()`

/** @param origin of the console; the person's page stands there */
export async function readBrowser(person: Person, origin: string): Promise<Sink[]> {
  const stored =
    await person.page.evaluate<Record<Exclude<Sink['source'], 'answer' | 'bundle'>, string>>(STORED)
  const sinks: Sink[] = [
    { source: 'localStorage', name: origin, text: stored.localStorage },
    { source: 'sessionStorage', name: origin, text: stored.sessionStorage },
    { source: 'IndexedDB', name: origin, text: stored.IndexedDB },
    { source: 'document', name: person.page.url(), text: stored.document },
    { source: 'address', name: person.page.url(), text: stored.address },
  ]
  for (const response of person.responses.filter((one) => one.url().startsWith(origin))) {
    const path = new URL(response.url()).pathname
    // Navigation drops the body of a page that was left; files and calls are still there or were read by it.
    const body = await response.text().catch(() => '')
    const headers = JSON.stringify(await response.allHeaders())
    const source = path.endsWith('.js') ? 'bundle' : 'answer'
    sinks.push({ source, name: path, text: `${response.url()}\n${headers}\n${body}` })
  }
  return sinks
}

/** @returns where a secret stands, as it is or encoded; never the secret itself */
export function findSecrets(sinks: readonly Sink[], secrets: readonly string[]): string[] {
  const forms = new Set(
    secrets.flatMap((secret) => [
      secret,
      encodeURIComponent(secret),
      JSON.stringify(secret).slice(1, -1),
      Buffer.from(secret).toString('base64').replace(/=+$/, ''),
      Buffer.from(secret).toString('base64url'),
      Buffer.from(secret).toString('hex'),
    ]),
  )
  return sinks.flatMap(({ source, name, text }) =>
    [...forms].some((form) => text.includes(form)) ? [`${source} ${name}`] : [],
  )
}
