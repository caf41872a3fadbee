import { expect, test } from 'vitest'
import { monotonicMs } from '../../src/platform/clock.ts'
import { type Holding, startHeartbeat } from '../../src/work/heartbeat.ts'

test('RE-02 a beat that fails is tried again at the next look, and one that is under way is not doubled', async () => {
  const holding: Holding<string> = { row: 'r', abort: new AbortController(), heldAt: monotonicMs() - 60_000 }
  const before = holding.heldAt
  const beats: ((result: boolean | Error) => void)[] = []
  // it looks every tenth of a second, and extends after three of them
  const end = startHeartbeat(
    () => [holding],
    1.2,
    () =>
      new Promise((resolve, reject) =>
        beats.push((result) => (result instanceof Error ? reject(result) : resolve(result))),
      ),
  )
  try {
    await expect.poll(() => beats.length).toBe(1)
    await new Promise((resolve) => setTimeout(resolve, 500))
    expect(beats).toHaveLength(1)
    beats[0]?.(new Error('the database is away'))
    await new Promise((resolve) => setTimeout(resolve, 0))
    expect(holding.heldAt).toBe(before)
    await expect.poll(() => beats.length).toBe(2)
    beats[1]?.(true)
    await expect.poll(() => holding.heldAt).toBeGreaterThan(before)
    expect(holding.abort.signal.aborted).toBe(false)
    await expect.poll(() => beats.length).toBe(3)
    beats[2]?.(false)
    await expect.poll(() => holding.abort.signal.aborted).toBe(true)
  } finally {
    end()
  }
})
