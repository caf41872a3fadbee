import { expect, test } from 'vitest'
import { misbehavingReceivers } from '../../src/misbehaving.ts'
import { onOwnDatabase } from '../../src/refresh-storm.ts'

test('F8 F9 F10 F11 F12 F26 receivers that are down, flaky, throttled, slow and gone get everything in the end (short form of npm run faults -- receivers)', async () => {
  const result = await onOwnDatabase((databaseUrl, directory) =>
    misbehavingReceivers(
      { databaseUrl, directory, calmSeconds: 2, badSeconds: 8, eventsPerSecond: 8 },
      () => {},
    ),
  )
  console.log('misbehaving receivers:', result.figures)
  expect(result.problems).toEqual([])
}, 240_000)
