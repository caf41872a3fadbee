import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createTestDatabase } from '@flovify/local/test-database'
import { expect, inject, it } from 'vitest'
import { rewrapUnderLoad } from '../../src/rewrap-fault.ts'

it('TV-05 a key rotation under load, with kill -9 of the rewrapping process: no read fails, it goes on, no row is left on the old key', async () => {
  const database = await createTestDatabase(inject('postgresUrl'))
  const directory = await mkdtemp(join(tmpdir(), 'flovify-rewrap-'))
  try {
    const lines: string[] = []
    const { problems, figures } = await rewrapUnderLoad(
      {
        databaseUrl: database.url,
        directory,
        connections: 2_000,
        readsPerSecond: 60,
        rate: 500,
        expiredPerSecond: 10,
      },
      (line) => lines.push(line),
    )
    expect(problems, lines.join('\n')).toEqual([])
    expect(figures).toMatchObject({ connections: 2_000, rowsOnK0: 0, broken: 0 })
    expect(Number(figures.refreshesMeanwhile)).toBeGreaterThan(100)
  } finally {
    await database.drop()
    await rm(directory, { recursive: true, force: true })
  }
}, 240_000)
