/**
 * What an item of a notification carries of its resource, after its sender and its bytes were proven, in that order. Items
 * without content need neither: they say only that something changed.
 */
import type { Json, JsonObject, KnownSubscription, Lookup, Verdict } from '../../provider.ts'
import { type OpenedContent, openContent } from './encrypted-content.ts'
import type { Vouchers } from './validation-tokens.ts'

export type ItemContent =
  | { readonly kind: 'none' }
  | Exclude<OpenedContent, { readonly kind: 'forged' }>
  | { readonly kind: 'refused'; readonly reason: string }
  /** To be repeated. */
  | Extract<Verdict, { readonly kind: 'unavailable' }>

/** @param owner the subscription that the item was proven to belong to */
export async function contentOfItem(
  item: JsonObject,
  owner: KnownSubscription,
  vouchers: Vouchers,
  lookup: Pick<Lookup, 'privateKey'>,
): Promise<ItemContent> {
  const [content, ...others] = contentsOf(item)
  if (content === undefined) return { kind: 'none' }
  if (others.length > 0) return { kind: 'refused', reason: 'bad_encrypted_content' }
  const vouching = await vouchers(owner.tenant)
  if (vouching.kind !== 'vouched') return vouching
  const opened = await openContent(content, (id) => lookup.privateKey(owner.id, id))
  return opened.kind === 'forged' ? { kind: 'refused', reason: opened.reason } : opened
}

/** Seen in both spellings: `encryptedContent` and `EncryptedContent`. */
function contentsOf(item: JsonObject): Json[] {
  return Object.entries(item).flatMap(([name, value]) =>
    name.toLowerCase() === 'encryptedcontent' && value !== null ? [value] : [],
  )
}
