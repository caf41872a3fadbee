/**
 * Spoils JSON text in ways that a parsed value cannot hold: duplicate keys, huge numbers, other spellings of a key,
 * deep nesting. Each mutation is plain data, so fast-check can shrink and print it. It knows no provider.
 */
import fc from 'fast-check'

const OPERATIONS = [
  'remove',
  'duplicate',
  'duplicate before',
  'replace',
  'swap',
  'rename',
  'escape key',
  'wrap in list',
  'wrap deeply',
  'case',
  'edit text',
  'add member',
] as const

export interface JsonMutation {
  readonly operation: (typeof OPERATIONS)[number]
  /** Which place; taken modulo the number of places. */
  readonly place: number
  readonly other: number
  /** JSON text, or nearly. */
  readonly raw: string
}

/** @param strangers values that belong to somebody else, as JSON text: the most dangerous replacements */
export function jsonMutation(strangers: readonly string[]): fc.Arbitrary<JsonMutation> {
  return fc.record({
    operation: fc.constantFrom(...OPERATIONS),
    place: fc.nat(200),
    other: fc.nat(200),
    raw: fc.oneof(
      fc.constantFrom(...strangers, ...HOSTILE_VALUES),
      fc.constantFrom(...strangers),
      fc.json({ maxDepth: 2 }),
      fc.string().map((text) => JSON.stringify(text)),
    ),
  })
}

const HOSTILE_VALUES = [
  ...['null', 'true', 'false', '0', '-1', '1e999', '-1e-999', '9007199254740993', '18446744073709551616'],
  ...['9'.repeat(63), '9'.repeat(400), 'NaN', '-', '01', '""', '" "', '"\\u0000"', '"\\ud800"', '"\\uZZZZ"'],
  ...['[]', '{}', '[[]]', '{"__proto__":{"clientState":"x"}}', '{"constructor":1}', '"'],
  ...['"toString"', '"constructor"', '"__proto__"', `"${'x'.repeat(9000)}"`],
]

type Node =
  | { readonly kind: 'raw'; text: string }
  | { readonly kind: 'list'; readonly items: Slot[] }
  | { readonly kind: 'record'; readonly members: Slot[] }
interface Slot {
  /** As JSON text; '' in lists. */
  key: string
  node: Node
}

export function mutateJson(text: string, mutations: readonly JsonMutation[]): string {
  const root: Slot = { key: '', node: nodeOf(JSON.parse(text)) }
  for (const mutation of mutations) mutate(root, mutation)
  return textOf(root.node)
}

function nodeOf(value: unknown): Node {
  if (Array.isArray(value)) {
    return { kind: 'list', items: value.map((item) => ({ key: '', node: nodeOf(item) })) }
  }
  if (typeof value !== 'object' || value === null) return { kind: 'raw', text: JSON.stringify(value) }
  const members = Object.entries(value).map(([key, inner]) => ({
    key: JSON.stringify(key),
    node: nodeOf(inner),
  }))
  return { kind: 'record', members }
}

function textOf(node: Node): string {
  if (node.kind === 'raw') return node.text
  if (node.kind === 'list') return `[${node.items.map((slot) => textOf(slot.node)).join(',')}]`
  return `{${node.members.map((slot) => `${slot.key}:${textOf(slot.node)}`).join(',')}}`
}

interface Place {
  readonly slot: Slot
  readonly siblings: Slot[]
}

function placesIn(slot: Slot, siblings: Slot[]): Place[] {
  const inner =
    slot.node.kind === 'list' ? slot.node.items : slot.node.kind === 'record' ? slot.node.members : []
  return [{ slot, siblings }, ...inner.flatMap((child) => placesIn(child, inner))]
}

function mutate(root: Slot, { operation, place, other, raw }: JsonMutation): void {
  const places = placesIn(root, [root])
  const { slot, siblings } = places[place % places.length] ?? { slot: root, siblings: [root] }
  const at = siblings.indexOf(slot)
  switch (operation) {
    case 'remove':
      siblings.splice(at, 1)
      return
    case 'duplicate':
      siblings.splice(at + 1, 0, { key: slot.key, node: copyOf(slot.node) })
      return
    case 'duplicate before':
      siblings.splice(at, 0, { key: slot.key, node: { kind: 'raw', text: raw } })
      return
    case 'replace':
      slot.node = { kind: 'raw', text: raw }
      return
    case 'swap': {
      const copies = [copyOf(slot.node), copyOf((places[other % places.length]?.slot ?? root).node)]
      const partner = places[other % places.length]?.slot ?? root
      slot.node = copies[1] ?? slot.node
      partner.node = copies[0] ?? partner.node
      return
    }
    case 'rename':
      slot.key = slot.key === '' ? '' : other % 2 === 0 ? flipCase(slot.key, other) : JSON.stringify(raw)
      return
    case 'escape key':
      slot.key = slot.key.replace(
        /[a-z]/,
        (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`,
      )
      return
    case 'wrap in list':
      slot.node = { kind: 'list', items: [{ key: '', node: slot.node }] }
      return
    case 'wrap deeply': {
      const depth = [1, 60, 63, 64, 65, 5000][other % 6] ?? 1
      slot.node = { kind: 'raw', text: `${'[{"a":'.repeat(depth)}${textOf(slot.node)}${'}]'.repeat(depth)}` }
      return
    }
    case 'case':
      if (slot.node.kind === 'raw') slot.node.text = flipCase(slot.node.text, other)
      return
    case 'edit text':
      if (slot.node.kind === 'raw') slot.node.text = edited(slot.node.text, other)
      return
    case 'add member':
      if (slot.node.kind === 'record')
        slot.node.members.push({ key: NEW_KEYS[other % 8] ?? '""', node: { kind: 'raw', text: raw } })
      return
    default:
      operation satisfies never
  }
}

const NEW_KEYS = [
  ...['"__proto__"', '"constructor"', '"value"', '"clientState"', '"tenantId"', '"encryptedContent"'],
  ...['"lifecycleEvent"', '"message"'],
]

/** The copy is text: a later mutation then changes it as a whole. */
function copyOf(node: Node): Node {
  return { kind: 'raw', text: textOf(node) }
}

/** Other case for one letter, or for all. */
function flipCase(text: string, which: number): string {
  if (which % 3 === 0) return text === text.toUpperCase() ? text.toLowerCase() : text.toUpperCase()
  const at = which % text.length
  const letter = text.charAt(at)
  const flipped = letter === letter.toUpperCase() ? letter.toLowerCase() : letter.toUpperCase()
  return `${text.slice(0, at)}${flipped}${text.slice(at + 1)}`
}

/** One character less, another or more. */
export function edited(text: string, which: number): string {
  const at = Math.floor(which / 3) % (text.length + 1)
  const letter = ['x', ' ', '0', '\u0000', 'é', '=', '"'][which % 7] ?? 'x'
  const rest = [text.slice(at + 1), `${letter}${text.slice(at + 1)}`, `${letter}${text.slice(at)}`]
  return `${text.slice(0, at)}${rest[which % 3]}`
}
