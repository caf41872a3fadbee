/** A migrated database of its own for one test file: a clone of the template that the test run made. */
import { createTestDatabase } from '@flovify/local/test-database'
import { inject } from 'vitest'
import { openPool, type Pool } from '../src/db/pool.ts'
import { openLog } from '../src/platform/log.ts'

export interface TestDatabase {
  readonly db: Pool
  readonly url: string
  close(): Promise<void>
}

export async function testDatabase(): Promise<TestDatabase> {
  const made = await createTestDatabase(inject('postgresUrl'))
  const log = openLog({ write: () => {} })
  const db = openPool({ url: made.url, name: 'work', size: 10, connectMs: 5_000, statementMs: 10_000, log })
  return {
    db,
    url: made.url,
    close: async () => {
      await db.close()
      await made.drop()
    },
  }
}
