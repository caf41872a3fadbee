/**
 * A prepared statement whose parameters are columns of many rows, written into one buffer that its connection keeps.
 * `pg` copies each parameter several times into buffers that grow and are thrown away: at thousands of rows a second these
 * made the collector run all the time (decision 44). Only the Bind message is written here; the rest is `pg`'s own.
 * Source: PostgreSQL 15–18, "Message Formats", Bind.
 */
import pg from 'pg'
import { BinaryArray } from './binary-array.ts'

/** A column, or a short text that PostgreSQL reads by the cast in the statement. */
export type ColumnParameter = BinaryArray | string

/** What `pg` gives a query to send itself with; it has no types for it. */
interface Wire {
  readonly stream: { write(bytes: Buffer): boolean }
  readonly parsedStatements: Record<string, unknown>
  readonly submittedNamedStatements: Record<string, unknown>
  parse(statement: { name: string; text: string }): void
  describe(what: { type: 'P'; name: string }): void
  execute(what: { portal: string }): void
  sync(): void
}

const BIND = 0x42
const BINARY = 1
const TEXT = 0
const SMALLEST = 64 * 1024
/** What a connection keeps at most. What is larger is rare (a request of a thousand items) and made for itself. */
const LARGEST_KEPT = 4 * 1024 * 1024

/** One for each connection, free again when its statement has been answered. */
const buffers = new WeakMap<Wire, Buffer>()

/** Whether a statement can be sent like this. */
export function areColumns(values: readonly unknown[]): values is readonly ColumnParameter[] {
  return values.every((value) => value instanceof BinaryArray || typeof value === 'string')
}

/** @returns what is given to a pool’s `query`, which has the connection for itself until the answer */
export function columnQuery(
  name: string,
  text: string,
  parameters: readonly ColumnParameter[],
): pg.Submittable {
  return Object.assign(new pg.Query({ name, text, values: [] }), {
    prepare(wire: Wire) {
      if (wire.parsedStatements[name] === undefined && wire.submittedNamedStatements[name] === undefined) {
        wire.parse({ name, text })
        wire.submittedNamedStatements[name] = text
      }
      wire.stream.write(bindMessage(wire, name, parameters))
      wire.describe({ type: 'P', name: '' })
      wire.execute({ portal: '' })
      wire.sync()
    },
  })
}

function bindMessage(wire: Wire, name: string, parameters: readonly ColumnParameter[]): Buffer {
  let size = 64 + name.length + parameters.length * 6
  for (const parameter of parameters)
    size += typeof parameter === 'string' ? parameter.length * 3 : parameter.maxBytes
  const message = bufferOf(wire, size)
  // the length follows when it is known; no name of a portal
  let at = message.writeUInt8(BIND, 0) + 4
  at = message.writeUInt8(0, at)
  at += message.write(name, at, 'latin1')
  at = message.writeUInt8(0, at)
  at = message.writeInt16BE(parameters.length, at)
  for (const parameter of parameters)
    at = message.writeInt16BE(parameter instanceof BinaryArray ? BINARY : TEXT, at)
  at = message.writeInt16BE(parameters.length, at)
  for (const parameter of parameters) {
    const start = at + 4
    const end =
      typeof parameter === 'string'
        ? start + message.write(parameter, start)
        : parameter.writeTo(message, start)
    message.writeInt32BE(end - start, at)
    at = end
  }
  // every column of the result as text
  at = message.writeInt16BE(0, at)
  message.writeInt32BE(at - 1, 1)
  return message.subarray(0, at)
}

/** @returns at least `size` bytes, which nobody else writes to until this statement has been answered */
function bufferOf(wire: Wire, size: number): Buffer {
  const kept = buffers.get(wire)
  if (kept !== undefined && kept.length >= size) return kept
  if (size > LARGEST_KEPT) return Buffer.allocUnsafeSlow(size)
  const made = Buffer.allocUnsafeSlow(Math.min(LARGEST_KEPT, Math.max(SMALLEST, size + (size >> 1))))
  buffers.set(wire, made)
  return made
}
