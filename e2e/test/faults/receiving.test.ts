/** Short forms of the faults of receiving; the long ones are `npm run faults -- ingest-kills | postgres-kills`. */
import { expect, test } from 'vitest'
import { killTheDoor } from '../../src/ingest-kills.ts'
import { killTheDatabase, LATE_WRITER, LOSSY, LOST, stopWaitingForTheDisk } from '../../src/postgres-kills.ts'
import { withReceiving } from '../../src/receiving.ts'

const quiet = () => {}

test('F1 RE-01 the receiving process is killed under load, storing held up: nothing acknowledged is lost (short form of npm run faults -- ingest-kills)', async () => {
  await withReceiving({}, async (world) => {
    const door = await killTheDoor(
      world,
      { seconds: 6, perSecond: 100, seed: Date.now() % 1_000_000, backWithinMs: 60_000 },
      quiet,
    )
    console.log('the door killed:', door)
    expect(door.problems).toEqual([])
  })
}, 120_000)

test('RE-02 with synchronous_commit=off the same kills are seen as loss: the checker can fail', async () => {
  await withReceiving({ settings: LATE_WRITER }, async (world) => {
    await stopWaitingForTheDisk(world.databaseUrl)
    const lossy = await killTheDatabase(world, { ...LOSSY, kills: 1, perSecond: 100 }, quiet)
    console.log('PostgreSQL killed without synchronous commit:', lossy)
    expect(lossy.problems.join('\n')).toContain(LOST)
  })
}, 240_000)
