import { expect, test } from 'vitest'
import { takeKeysAway } from '../../src/keys-away.ts'
import { onOwnDatabase } from '../../src/refresh-storm.ts'

test('F22 WI-13 the signing keys are away for six simulated hours, rotated, and invented in floods (short form of npm run faults -- keys-away)', async () => {
  const result = await onOwnDatabase((databaseUrl, directory) =>
    takeKeysAway({ databaseUrl, directory, stepMinutes: 120, invented: 40 }, () => {}),
  )
  console.log('keys away:', result)
  expect(result.problems).toEqual([])
}, 120_000)
