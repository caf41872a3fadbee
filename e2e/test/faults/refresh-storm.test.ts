/** Short forms of `npm run faults -- refresh-storm` and `-- refresh-outage`. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createTestDatabase } from '@flovify/local/test-database'
import { expect, inject, it } from 'vitest'
import type { FaultResult, Print } from '../../src/faults.ts'
import { refreshOutage } from '../../src/refresh-outage.ts'
import { refreshStorm } from '../../src/refresh-storm.ts'

async function held(run: (databaseUrl: string, directory: string, print: Print) => Promise<FaultResult>) {
  const database = await createTestDatabase(inject('postgresUrl'))
  const directory = await mkdtemp(join(tmpdir(), 'flovify-refresh-'))
  try {
    const lines: string[] = []
    const { problems, figures } = await run(database.url, directory, (line) => lines.push(line))
    expect(problems, `${lines.join('\n')}\n${JSON.stringify(figures)}`).toEqual([])
    return figures
  } finally {
    await database.drop()
    await rm(directory, { recursive: true, force: true })
  }
}

it('RE-10 T17 300 tokens that expire in the same minute, three processes: the limit of the provider holds in every second, none refreshed twice, no read fails', async () => {
  const figures = await held((databaseUrl, directory, print) =>
    refreshStorm(
      {
        databaseUrl,
        directory,
        processes: 3,
        connections: 300,
        perSecond: 25,
        validSeconds: 600,
        readsPerSecond: 20,
      },
      print,
    ),
  )
  expect(figures).toMatchObject({ requests: 300, failedReads: 0 })
}, 180_000)

it('RE-08 F13 the provider is down for two simulated hours: no connection needs its user, valid tokens are served, and it goes on by itself', async () => {
  const figures = await held((databaseUrl, directory, print) =>
    refreshOutage(
      {
        databaseUrl,
        directory,
        processes: 2,
        connections: 100,
        perSecond: 25,
        stepSeconds: 60,
        provider: 'microsoft',
        how: 'refuse',
      },
      print,
    ),
  )
  expect(figures).toMatchObject({ reauthRequired: 0 })
}, 180_000)
