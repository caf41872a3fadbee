/**
 * Spoils one HTTP request: its bytes, headers, query, method and ref, and the JSON of its body. Plain data, so that
 * fast-check can shrink and print it. It knows no provider.
 */
import fc from 'fast-check'
import type { NotificationRequest } from '../../src/provider.ts'
import { edited, type JsonMutation, jsonMutation, mutateJson } from './json-mutation.ts'

const BYTE_OPERATIONS = ['truncate', 'flip a bit', 'insert', 'append', 'encode', 'replace'] as const
const HEADER_OPERATIONS = ['remove', 'duplicate', 'edit', 'add', 'move', 'join', 'empty'] as const

export interface RequestMutation {
  readonly json: readonly JsonMutation[]
  readonly bytes: readonly {
    readonly operation: (typeof BYTE_OPERATIONS)[number]
    readonly at: number
    readonly piece: string
  }[]
  readonly headers: readonly {
    readonly operation: (typeof HEADER_OPERATIONS)[number]
    readonly which: number
    readonly name: string
    readonly value: string
  }[]
  readonly ref: { readonly value: string | undefined } | undefined
  readonly query: readonly (readonly [string, string])[]
  readonly method: string
}

/** What belongs to others or to another place, for each part of a request. */
export interface Strangers {
  /** JSON texts. */
  readonly values: readonly string[]
  readonly refs: readonly string[]
  readonly headerValues: readonly string[]
}

/** Most are spoilt in one part, so that the others stay right and the part itself decides. */
export function requestMutation(strangers: Strangers): fc.Arbitrary<RequestMutation> {
  const none: RequestMutation = {
    json: [],
    bytes: [],
    headers: [],
    ref: undefined,
    query: [],
    method: 'POST',
  }
  const parts = {
    json: fc.array(jsonMutation(strangers.values), { minLength: 1, maxLength: 3 }),
    bytes: fc.array(byteMutation, { minLength: 1, maxLength: 2 }),
    headers: fc.array(headerMutation(strangers.headerValues), { minLength: 1, maxLength: 2 }),
    ref: fc.oneof(
      fc.constant({ value: undefined }),
      fc.constantFrom('', ...strangers.refs).map((value) => ({ value })),
      fc.string().map((value) => ({ value })),
    ),
    query: fc.array(
      fc.tuple(
        fc.constantFrom('validationToken', 'validationtoken', 'x'),
        fc.oneof(fc.string(), fc.constant('<b>')),
      ),
      { maxLength: 2 },
    ),
    method: fc.constantFrom('POST', 'GET', 'PUT', 'post', ''),
  }
  const one = <Name extends keyof RequestMutation>(name: Name) =>
    (parts[name] as fc.Arbitrary<RequestMutation[Name]>).map((part) => ({ ...none, [name]: part }))
  return fc.oneof(
    { weight: 1, arbitrary: fc.constant(none) },
    { weight: 8, arbitrary: one('json') },
    { weight: 4, arbitrary: one('bytes') },
    { weight: 4, arbitrary: one('headers') },
    { weight: 1, arbitrary: one('ref') },
    { weight: 1, arbitrary: one('query') },
    { weight: 1, arbitrary: one('method') },
    { weight: 2, arbitrary: fc.record(parts) },
  )
}

const byteMutation = fc.record({
  operation: fc.constantFrom(...BYTE_OPERATIONS),
  at: fc.nat(4000),
  piece: fc.oneof(
    // hex: invalid UTF-8, overlong NUL, a surrogate, byte order marks, NUL, a line end, brackets
    fc.constantFrom('ff', 'c080', 'eda080', 'efbbbf', 'fffe', '00', '0d0a', '5b', '7d', '22', '5c'),
    fc.uint8Array({ minLength: 1, maxLength: 8 }).map((bytes) => Buffer.from(bytes).toString('hex')),
  ),
})

function headerMutation(values: readonly string[]) {
  return fc.record({
    operation: fc.constantFrom(...HEADER_OPERATIONS),
    which: fc.nat(5000),
    name: fc.constantFrom(
      'authorization',
      'x-ms-signature',
      'x-goog-channel-token',
      'sec-fetch-mode',
      '__proto__',
      'content-type',
    ),
    value: fc.oneof(fc.constantFrom('', 'navigate', 'Bearer a.b.c', '0'.repeat(64), ...values), fc.string()),
  })
}

export function mutateRequest(request: NotificationRequest, mutation: RequestMutation): NotificationRequest {
  let body = request.body
  if (mutation.json.length > 0 && isJson(body)) body = Buffer.from(mutateJson(body.toString(), mutation.json))
  for (const change of mutation.bytes) body = mutateBytes(body, change)
  let headers = Object.entries(request.headers).map(([name, list]) => [name, [...list]] as [string, string[]])
  for (const change of mutation.headers) headers = mutateHeaders(headers, change)
  return {
    method: mutation.method,
    ref: mutation.ref === undefined ? request.ref : mutation.ref.value,
    query: [...request.query, ...mutation.query],
    headers: Object.fromEntries(headers),
    body,
  }
}

function isJson(body: Buffer): boolean {
  return body[0] === 0x7b || body[0] === 0x5b
}

function mutateBytes(body: Buffer, { operation, at, piece }: RequestMutation['bytes'][number]): Buffer {
  const place = at % (body.length + 1)
  const inserted = Buffer.from(piece, 'hex')
  switch (operation) {
    case 'truncate':
      return body.subarray(0, place)
    case 'flip a bit': {
      const flipped = Buffer.from(body)
      flipped[place] = (flipped[place] ?? 0) ^ (1 << (at % 8))
      return flipped
    }
    case 'insert':
      return Buffer.concat([body.subarray(0, place), inserted, body.subarray(place)])
    case 'append':
      return Buffer.concat([body, inserted])
    case 'encode':
      return Buffer.from(body.toString(), at % 2 === 0 ? 'utf16le' : 'base64')
    case 'replace':
      return inserted
    default:
      return operation satisfies never
  }
}

function mutateHeaders(
  headers: [string, string[]][],
  { operation, which, name, value }: RequestMutation['headers'][number],
): [string, string[]][] {
  const at = which % Math.max(1, headers.length)
  const [own, list] = headers[at] ?? ['x', ['']]
  const others = headers.filter((_, index) => index !== at)
  const first = list[0] ?? ''
  switch (operation) {
    case 'remove':
      return others
    case 'duplicate':
      return [
        ...others,
        [own, which % 2 === 0 ? [first, first] : which % 3 === 0 ? [first, value] : [value, first]],
      ]
    case 'edit':
      return [...others, [own, [edited(first, which)]]]
    case 'add':
      return [...headers, [name, [value]]]
    case 'move':
      return [...others, [name, list]]
    case 'join':
      return [...others, [own, [`${value}, ${first}`]]]
    case 'empty':
      return [...others, [own, which % 2 === 0 ? [] : [value]]]
    default:
      return operation satisfies never
  }
}
