import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  byteaArray,
  doubleArray,
  integerArray,
  textArray,
  timestampArray,
} from '../../src/db/binary-array.ts'
import { sql } from '../../src/db/sql.ts'
import { type TestDatabase, testDatabase } from '../database.ts'

describe('arrays in PostgreSQL’s binary form', () => {
  let t: TestDatabase
  beforeAll(async () => {
    t = await testDatabase()
  })
  afterAll(() => t.close())

  test('come back as they were sent, with nulls, empty values, every kind of letter, and without any element', async () => {
    const text = fc
      .string({ unit: 'binary', maxLength: 40 })
      .map((value) => value.replaceAll('\0', '').toWellFormed())
    const bytes = fc.uint8Array({ maxLength: 60 }).map((value) => Buffer.from(value))
    const time = fc.date({ min: new Date('1970-01-01'), max: new Date('2200-01-01'), noInvalidDate: true })
    const column = <T>(value: fc.Arbitrary<T>) => fc.array(fc.option(value), { maxLength: 20 })
    await fc.assert(
      fc.asyncProperty(column(text), column(bytes), column(time), async (texts, blobs, times) => {
        const row = await t.db.one<{ texts: unknown; blobs: unknown; times: unknown }>(sql`
          select ${textArray(texts)}::text[] as texts, ${byteaArray(blobs)}::bytea[] as blobs,
                 ${timestampArray(times)}::timestamptz[] as times`)
        expect(row).toEqual({ texts, blobs, times })
      }),
      { numRuns: 200 },
    )
    const integer = fc.integer({ min: -2_147_483_648, max: 2_147_483_647 })
    const double = fc.double({ noDefaultInfinity: true, noNaN: true })
    await fc.assert(
      fc.asyncProperty(column(integer), column(double), async (integers, doubles) => {
        const row = await t.db.one<{ integers: unknown; doubles: unknown }>(sql`
          select ${integerArray(integers)}::int[] as integers, ${doubleArray(doubles)}::double precision[] as doubles`)
        expect(row).toEqual({ integers, doubles })
      }),
      { numRuns: 100 },
    )
  })

  test('a NUL in a text is refused as a data error, so that a group is split instead of repeated', async () => {
    await expect(t.db.one(sql`select ${textArray(['a\0b'])}::text[]`)).rejects.toMatchObject({
      code: '22021',
    })
  })
})
