/** The short form of `npm run faults -- flood`. */
import { expect, test } from 'vitest'
import { floodTheDoor } from '../../src/flood.ts'
import { onOwnDatabase } from '../../src/refresh-storm.ts'

test('WI-09 a flood of forgeries is refused unread, every genuine notification is acknowledged and stored once', async () => {
  const result = await onOwnDatabase((databaseUrl, directory) =>
    floodTheDoor({ databaseUrl, directory, seconds: 8, connections: 32 }, () => {}),
  )
  console.log('a flood:', result.figures)
  expect(result.problems).toEqual([])
}, 120_000)
