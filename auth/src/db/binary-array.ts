/**
 * Arrays as PostgreSQL reads them in binary form, for statements that take columns of many rows at once: a `bytea[]` as
 * text costs two hex digits a byte, written here and parsed there, more than storing the rows. `pg` sends a Buffer in
 * binary format, and the cast in the statement (`$1::text[]`) names the type. Only for types whose binary form is fixed:
 * source: PostgreSQL 15–18, `array_recv`, `textrecv`, `bytearecv`, `timestamptz_recv`, `int4recv`, `float8recv`.
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

/** @returns the value of a parameter that is cast to `text[]` */
export function textArray(values: readonly (string | null)[]): Buffer {
  let size = HEADER_BYTES
  for (const value of values) size += 4 + (value === null ? 0 : Buffer.byteLength(value))
  const array = header(TEXT, values.length, size)
  let at = HEADER_BYTES
  for (const value of values) {
    if (value === null) at = array.writeInt32BE(NULL, at)
    else {
      const length = array.write(value, at + 4)
      array.writeInt32BE(length, at)
      at += 4 + length
    }
  }
  return array
}

/** @returns the value of a parameter that is cast to `bytea[]` */
export function byteaArray(values: readonly (Buffer | null)[]): Buffer {
  let size = HEADER_BYTES
  for (const value of values) size += 4 + (value === null ? 0 : value.length)
  const array = header(BYTEA, values.length, size)
  let at = HEADER_BYTES
  for (const value of values) {
    at = array.writeInt32BE(value === null ? NULL : value.length, at)
    if (value !== null) at += value.copy(array, at)
  }
  return array
}

/** @returns the value of a parameter that is cast to `timestamptz[]` */
export function timestampArray(values: readonly (Date | null)[]): Buffer {
  const array = header(TIMESTAMPTZ, values.length, HEADER_BYTES + values.length * 12)
  let at = HEADER_BYTES
  for (const value of values) {
    at = array.writeInt32BE(value === null ? NULL : 8, at)
    if (value !== null) at = array.writeBigInt64BE(BigInt(value.getTime() - EPOCH_MS) * 1000n, at)
  }
  return array.subarray(0, at)
}

/** @returns the value of a parameter that is cast to `int[]` */
export function integerArray(values: readonly (number | null)[]): Buffer {
  const array = header(INT4, values.length, HEADER_BYTES + values.length * 8)
  let at = HEADER_BYTES
  for (const value of values) {
    at = array.writeInt32BE(value === null ? NULL : 4, at)
    if (value !== null) at = array.writeInt32BE(value, at)
  }
  return array.subarray(0, at)
}

/** @returns the value of a parameter that is cast to `double precision[]` */
export function doubleArray(values: readonly (number | null)[]): Buffer {
  const array = header(FLOAT8, values.length, HEADER_BYTES + values.length * 12)
  let at = HEADER_BYTES
  for (const value of values) {
    at = array.writeInt32BE(value === null ? NULL : 8, at)
    if (value !== null) at = array.writeDoubleBE(value, at)
  }
  return array.subarray(0, at)
}

function header(elementType: number, length: number, size: number): Buffer {
  const array = Buffer.allocUnsafe(size)
  array.writeInt32BE(length === 0 ? 0 : 1, 0)
  array.writeInt32BE(1, 4)
  array.writeInt32BE(elementType, 8)
  array.writeInt32BE(length, 12)
  array.writeInt32BE(1, 16)
  return length === 0 ? array.subarray(0, 12) : array
}
