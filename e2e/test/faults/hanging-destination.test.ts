import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { testDatabase } from '../../../auth/test/database.ts'
import { hangingDestination } from '../../src/hanging-destination.ts'

describe('one destination of eleven that never answers', () => {
  it('DO-08 F11 keeps nothing from the others (short form of npm run faults -- hanging-destination)', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'flovify-hanging-'))
    const database = await testDatabase()
    try {
      const result = await hangingDestination(
        {
          databaseUrl: database.url,
          directory,
          destinations: 11,
          eventsPerSecond: 10,
          calmSeconds: 2,
          hangingSeconds: 6,
          tolerance: undefined,
        },
        () => undefined,
      )
      console.log('one hangs:', result.figures)
      expect(result.problems).toEqual([])
      expect(result.figures.mostWaitingAtOne).toBe(10)
    } finally {
      await database.close()
      await rm(directory, { recursive: true, force: true })
    }
  }, 60_000)
})
