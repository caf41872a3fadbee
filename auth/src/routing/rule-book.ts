/**
 * The rules in force, compiled, with the revision they were read at. Whoever stores events matches with `current()` and
 * is told by the storing statement when that is no longer the newest; then he calls `reload()`. It never serves rules of
 * one revision under the number of another: both are read by one statement.
 */
import type { Db } from '../db/sql.ts'
import { compileRules, type Matcher } from './match.ts'
import { readRulesInForce } from './store.ts'

export interface Ruleset {
  readonly revision: string
  readonly match: Matcher
}

export interface RuleBook {
  current(): Ruleset
  reload(): Promise<void>
}

/** Reads the rules once before it returns. */
export async function openRuleBook(db: Db): Promise<RuleBook> {
  const read = async (): Promise<Ruleset> => {
    const { revision, rules } = await readRulesInForce(db)
    return { revision, match: compileRules(rules) }
  }
  let current = await read()
  let reading: Promise<void> | undefined
  let again: Promise<void> | undefined
  const start = (): Promise<void> => {
    reading = read()
      .then((next) => {
        // Revisions only grow; an answer that was overtaken is dropped.
        if (BigInt(next.revision) >= BigInt(current.revision)) current = next
      })
      .finally(() => {
        reading = undefined
      })
    return reading
  }
  return {
    current: () => current,
    reload: () => {
      if (reading === undefined) return start()
      // A read that already runs may have begun before the change: everybody who asks now shares the one after it.
      again ??= reading
        .catch(() => {})
        .then(() => {
          again = undefined
          return start()
        })
      return again
    },
  }
}
