import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { byteaArray, textArray } from '../../src/db/binary-array.ts'
import { areColumns, columnQuery } from '../../src/db/column-query.ts'
import { type Sql, sql } from '../../src/db/sql.ts'
import { type TestDatabase, testDatabase } from '../database.ts'

describe('a statement that sends its columns from one kept buffer', () => {
  let t: TestDatabase
  beforeAll(async () => {
    t = await testDatabase()
  })
  afterAll(() => t.close())

  const echo = (texts: (string | null)[], blobs: (Buffer | null)[], note: string): Sql =>
    sql`select ${textArray(texts)}::text[] as texts, ${byteaArray(blobs)}::bytea[] as blobs, ${note}::text as note`

  test('gives every value to the server as it is, whatever was sent before', async () => {
    const text = fc
      .string({ unit: 'binary', maxLength: 40 })
      .map((value) => value.replaceAll('\0', '').toWellFormed())
    const bytes = fc.uint8Array({ maxLength: 60 }).map((value) => Buffer.from(value))
    const column = <T>(value: fc.Arbitrary<T>) => fc.array(fc.option(value), { maxLength: 12 })
    await fc.assert(
      fc.asyncProperty(column(text), column(bytes), text, async (texts, blobs, note) => {
        const query = echo(texts, blobs, note)
        expect(areColumns(query.values)).toBe(true)
        expect(await t.db.one(query, 'echo_columns')).toEqual({ texts, blobs, note })
      }),
      { numRuns: 30 },
    )
  })

  test('grows for a large group and stays right for a small one after it, on several connections at once', async () => {
    const large = randomBytes(512 * 1024)
    const groups = Array.from({ length: 12 }, (_, i) => (i % 3 === 0 ? [large, null] : [Buffer.from([i])]))
    const rows = await Promise.all(
      groups.map((blobs, i) =>
        t.db.one<{ blobs: (Buffer | null)[]; note: string }>(echo([`${i}`], blobs, `n${i}`), 'echo_columns'),
      ),
    )
    rows.forEach((row, i) => {
      expect(row?.note).toBe(`n${i}`)
      expect(row?.blobs.map((blob) => blob?.equals(groups[i]?.[0] ?? Buffer.alloc(0)) ?? null)).toEqual(
        groups[i]?.map((blob) => (blob === null ? null : true)),
      )
    })
  })

  test('a connection keeps its buffer, and never one that a single large group needed', async () => {
    const written: Buffer[] = []
    const nothing = () => {}
    const wire = {
      stream: { write: (bytes: Buffer) => written.push(bytes) > 0 },
      ...{ parsedStatements: {}, submittedNamedStatements: {} },
      ...{ parse: nothing, describe: nothing, execute: nothing, sync: nothing },
    }
    const send = (bytes: number) => {
      const query = columnQuery('n', 'select 1', [byteaArray([Buffer.alloc(bytes)])])
      ;(query as unknown as { prepare(wire: unknown): void }).prepare(wire)
      return written.at(-1)?.buffer
    }
    const MIB = 1024 * 1024
    const kept = send(3 * MIB)
    expect(kept?.byteLength).toBeLessThanOrEqual(4 * MIB)
    const large = send(9 * MIB)
    const others = [send(100), send(9 * MIB), send(100)]
    // compared here: a difference of megabytes would be printed
    expect([large === kept, ...others.map((one) => one === kept)]).toEqual([false, true, false, true])
    expect(others[1] === large).toBe(false)
  })

  test('an error of the server is its error, and the pool goes on', async () => {
    await expect(t.db.one(echo(['a\0b'], [], ''), 'echo_columns')).rejects.toMatchObject({ code: '22021' })
    expect(await t.db.one(echo(['a'], [null], 'after'), 'echo_columns')).toEqual({
      texts: ['a'],
      blobs: [null],
      note: 'after',
    })
  })

  test('one name never stands for two statements', async () => {
    await t.db.one(echo([], [], ''), 'echo_columns')
    await Promise.all(
      Array.from({ length: 4 }, () =>
        expect(t.db.one(sql`select ${textArray([])}::text[] as other`, 'echo_columns')).rejects.toThrow(
          /must be unique|bind message supplies/,
        ),
      ),
    )
  })

  test('what is neither a column nor a text is left to the library', () => {
    expect(areColumns([textArray([]), 1])).toBe(false)
    expect(areColumns([new Date()])).toBe(false)
    expect(areColumns([null])).toBe(false)
    expect(typeof columnQuery('n', 'select 1', []).submit).toBe('function')
  })
})
