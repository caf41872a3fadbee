/**
 * The files of a drive or the events of a calendar, with a number that grows with each change, so that a client
 * can ask what came since. It notifies nobody by itself.
 */

export interface Item {
  id: string
  name: string
  content: string
  /** Milliseconds of the simulated time. */
  changedAt: number
  removed: boolean
  /** The collection's number at the last change of this item. */
  version: number
}

export interface Collection {
  items: Map<string, Item>
  version: number
}

export interface Change {
  item: Item
  kind: 'created' | 'updated' | 'deleted'
}

export interface ChangeOrder {
  id: string | undefined
  name: string | undefined
  remove: boolean
}

export function createCollections(accounts: readonly { email: string }[]): Map<string, Collection> {
  return new Map(accounts.map(({ email }) => [email, { items: new Map(), version: 1 }]))
}

export function collectionOf(collections: ReadonlyMap<string, Collection>, account: string): Collection {
  const found = collections.get(account)
  if (found === undefined) throw Object.assign(new Error('no such account'), { code: 'no_collection' })
  return found
}

/** Makes, changes or removes an item; `null` for an id that does not exist, or nothing to remove. */
export function changeItem(
  collection: Collection,
  order: ChangeOrder,
  mintId: () => string,
  now: number,
): Change | null {
  const before = order.id === undefined ? undefined : collection.items.get(order.id)
  if ((order.id !== undefined || order.remove) && (before === undefined || before.removed)) return null
  collection.version += 1
  const name = order.name ?? before?.name ?? 'A simulated item'
  const item: Item = {
    id: before?.id ?? mintId(),
    name,
    content: `content of ${name}, version ${collection.version}`,
    changedAt: now,
    removed: order.remove,
    version: collection.version,
  }
  collection.items.set(item.id, item)
  return { item, kind: order.remove ? 'deleted' : before === undefined ? 'created' : 'updated' }
}

/** Items whose last change came after this number, oldest first. */
export function changedSince(collection: Collection, version: number): Item[] {
  return [...collection.items.values()]
    .filter((item) => item.version > version)
    .sort((one, other) => one.version - other.version)
}
