/**
 * Arrays as PostgreSQL reads them in binary form, for statements that take columns of many rows at once: a `bytea[]` as
 * text costs two hex digits a byte, written here and parsed there, more than storing the rows. The cast in the statement
 * (`$1::text[]`) names the type. Only for types whose binary form is fixed: source: PostgreSQL 15–18, `array_recv`,
 * `textrecv`, `bytearecv`, `timestamptz_recv`, `int4recv`, `float8recv`.
 *
 * A column writes itself where it is sent from (`column-query.ts`), so that a group of many rows is copied once.
 */

const BYTEA = 17
const INT4 = 23
const TEXT = 25
const FLOAT8 = 701
const TIMESTAMPTZ = 1184
/** Dimensions, whether there are nulls, element type, length, lower bound. */
const HEADER_BYTES = 20
const NULL = -1
/** Microseconds count from 2000-01-01T00:00:00Z. */
const EPOCH_MS = 946_684_800_000
const TWO_TO_32 = 4_294_967_296

/** The value of a parameter: one column of many rows. */
export class BinaryArray {
  /** Of the whole, or more: a text may turn out shorter than the worst case. */
  readonly maxBytes: number
  readonly #write: (target: Buffer, at: number) => number

  constructor(maxBytes: number, write: (target: Buffer, at: number) => number) {
    this.maxBytes = maxBytes
    this.#write = write
  }

  /** @returns where it ends */
  writeTo(target: Buffer, at: number): number {
    return this.#write(target, at)
  }

  /** What `pg` asks a parameter for, where nobody else sends it. */
  toPostgres(): Buffer {
    const target = Buffer.allocUnsafe(this.maxBytes)
    return target.subarray(0, this.writeTo(target, 0))
  }
}

/** @returns the value of a parameter that is cast to `text[]` */
export function textArray(values: readonly (string | null)[]): BinaryArray {
  let size = HEADER_BYTES
  // UTF-8 has at most three bytes for each UTF-16 unit
  for (const value of values) size += 4 + (value === null ? 0 : value.length * 3)
  return new BinaryArray(size, (target, start) => {
    let at = header(target, start, TEXT, values.length)
    for (const value of values) {
      if (value === null) at = target.writeInt32BE(NULL, at)
      else {
        const length = target.write(value, at + 4)
        target.writeInt32BE(length, at)
        at += 4 + length
      }
    }
    return at
  })
}

/** @returns the value of a parameter that is cast to `bytea[]` */
export function byteaArray(values: readonly (Buffer | null)[]): BinaryArray {
  let size = HEADER_BYTES
  for (const value of values) size += 4 + (value === null ? 0 : value.length)
  return new BinaryArray(size, (target, start) => {
    let at = header(target, start, BYTEA, values.length)
    for (const value of values) {
      at = target.writeInt32BE(value === null ? NULL : value.length, at)
      if (value !== null) {
        target.set(value, at)
        at += value.length
      }
    }
    return at
  })
}

/** @returns the value of a parameter that is cast to `timestamptz[]` */
export function timestampArray(values: readonly (Date | null)[]): BinaryArray {
  return new BinaryArray(HEADER_BYTES + values.length * 12, (target, start) => {
    let at = header(target, start, TIMESTAMPTZ, values.length)
    for (const value of values) {
      at = target.writeInt32BE(value === null ? NULL : 8, at)
      if (value !== null) {
        // exact: microseconds of four millennia are below 2 ** 57, but each half of the product is taken by itself
        const ms = value.getTime() - EPOCH_MS
        const high = Math.floor(ms / TWO_TO_32)
        const low = (ms - high * TWO_TO_32) * 1000
        at = target.writeInt32BE(high * 1000 + Math.floor(low / TWO_TO_32), at)
        at = target.writeUInt32BE(low % TWO_TO_32, at)
      }
    }
    return at
  })
}

/** @returns the value of a parameter that is cast to `int[]` */
export function integerArray(values: readonly (number | null)[]): BinaryArray {
  return new BinaryArray(HEADER_BYTES + values.length * 8, (target, start) => {
    let at = header(target, start, INT4, values.length)
    for (const value of values) {
      at = target.writeInt32BE(value === null ? NULL : 4, at)
      if (value !== null) at = target.writeInt32BE(value, at)
    }
    return at
  })
}

/** @returns the value of a parameter that is cast to `double precision[]` */
export function doubleArray(values: readonly (number | null)[]): BinaryArray {
  return new BinaryArray(HEADER_BYTES + values.length * 12, (target, start) => {
    let at = header(target, start, FLOAT8, values.length)
    for (const value of values) {
      at = target.writeInt32BE(value === null ? NULL : 8, at)
      if (value !== null) at = target.writeDoubleBE(value, at)
    }
    return at
  })
}

function header(target: Buffer, start: number, elementType: number, length: number): number {
  let at = target.writeInt32BE(length === 0 ? 0 : 1, start)
  at = target.writeInt32BE(1, at)
  at = target.writeInt32BE(elementType, at)
  if (length === 0) return at
  at = target.writeInt32BE(length, at)
  return target.writeInt32BE(1, at)
}
