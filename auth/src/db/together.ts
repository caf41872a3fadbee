/**
 * One statement for what many requests want at the same time. What comes while a statement is under way goes into the
 * next one, so a single request waits for nothing and a hundred share a round trip and a commit. A statement that takes
 * long does not hold up the rest: after some milliseconds the next begins beside it. Who is in no hurry can gather. What the database refuses as bad data
 * fails alone. It keeps nothing and repeats nothing else.
 */
import { sqlState } from './sql.ts'

export interface Together<In, Out> {
  /** @throws what the statement of its group threw */
  add(item: In): Promise<Out>
}

export interface TogetherLimits {
  /** Items of one statement. */
  readonly most: number
  /** Statements under way at once. */
  readonly atOnce: number
  /** After a group of several the next one waits so long for company, unless it is full. Not at all unless given. */
  readonly gatherMs?: number
}

interface Waiting<In, Out> {
  readonly item: In
  resolve(result: Out): void
  reject(error: unknown): void
}

/** A round trip takes a tenth of it; who waits longer shares nothing with what is stuck. */
const PATIENCE_MS = 5

/** @param run answers all items of a group, in their order */
export function openTogether<In, Out>(
  run: (items: readonly In[]) => Promise<readonly Out[]>,
  limits: TogetherLimits,
): Together<In, Out> {
  const waiting: Waiting<In, Out>[] = []
  let underWay = 0
  let patience: NodeJS.Timeout | undefined
  let planned = false
  let last = 0
  const { most, atOnce, gatherMs = 0 } = limits

  function begin(): void {
    planned = false
    clearTimeout(patience)
    patience = undefined
    if (waiting.length === 0) return
    underWay += 1
    const group = waiting.splice(0, most)
    last = group.length
    void settle(run, group).finally(() => {
      underWay -= 1
      plan()
    })
    plan()
  }

  function plan(): void {
    if (waiting.length === 0 || planned || underWay >= atOnce) return
    const gathers = gatherMs > 0 && last > 1
    if (waiting.length >= most || (underWay === 0 && !gathers)) {
      planned = true
      // what arrived in this turn of the event loop goes along
      setImmediate(begin)
    } else patience ??= setTimeout(begin, Math.max(PATIENCE_MS, gatherMs))
  }

  return {
    add: (item) =>
      new Promise((resolve, reject) => {
        waiting.push({ item, resolve, reject })
        plan()
      }),
  }
}

/** Never throws: each item learns its own outcome. */
async function settle<In, Out>(
  run: (items: readonly In[]) => Promise<readonly Out[]>,
  group: readonly Waiting<In, Out>[],
): Promise<void> {
  try {
    const results = await run(group.map(({ item }) => item))
    if (results.length !== group.length)
      throw Object.assign(new Error('a group was not answered item by item'), { code: 'wrong_group' })
    for (const [i, one] of group.entries()) one.resolve(results[i] as Out)
  } catch (error) {
    // data errors are of one item, and one that waits for nobody else ends in no deadlock; a database that is away is
    // away for all
    if (group.length > 1 && /^(22|40P01)/.test(sqlState(error) ?? ''))
      for (const one of group) await settle(run, [one])
    else for (const one of group) one.reject(error)
  }
}
