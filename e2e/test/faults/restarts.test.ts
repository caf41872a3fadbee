import { expect, test } from 'vitest'
import { onOwnDatabase } from '../../src/refresh-storm.ts'
import { rollingRestarts } from '../../src/restarts.ts'

test('RE-06 F21 rolling restarts under load: nothing is lost, nobody is refused for good (short form of npm run faults -- restarts)', async () => {
  const result = await onOwnDatabase((databaseUrl, directory) =>
    rollingRestarts({ databaseUrl, directory, restarts: 3, perSecond: 40, signal: 'SIGTERM' }, () => {}),
  )
  console.log('rolling restarts:', result.figures)
  expect(result.problems).toEqual([])
  expect(Number(result.figures.acknowledged)).toBeGreaterThan(100)
}, 180_000)
