/** Asks again until it holds; for what real processes do in their own time. */
import { setTimeout as sleep } from 'node:timers/promises'

const PATIENCE_MS = 60_000
const LOOK_MS = 10

/** @throws with `what` when it does not hold within a minute */
export async function waitUntil(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; await sleep(LOOK_MS)) if (await holds()) return
  throw new Error(`waited in vain: ${what}`)
}
