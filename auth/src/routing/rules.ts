/**
 * Making, listing and removing rules, each change with its audit entry in one transaction. It decides nothing about
 * events: that is `match.ts`.
 */
import { audit } from '../audit/audit.ts'
import type { Database, Db } from '../db/sql.ts'
import { newId } from '../platform/ids.ts'
import { compilePattern } from './pattern.ts'
import type { RuleBook } from './rule-book.ts'
import {
  deleteRule,
  disableRulesOf,
  hasUnconditionalRule,
  insertRule,
  listRules,
  type RuleRow,
} from './store.ts'

export type { RuleRow } from './store.ts'

export interface NewRule {
  readonly name: string
  readonly destinationId: string
  readonly types?: readonly string[]
  readonly providers?: readonly string[]
  readonly connections?: readonly string[]
}

export type RuleCreation =
  | { readonly kind: 'created'; readonly rule: RuleRow }
  | { readonly kind: 'unknown_destination' }
  | { readonly kind: 'invalid_pattern' }

export interface Rules {
  create(actor: string, rule: NewRule): Promise<RuleCreation>
  list(): Promise<readonly RuleRow[]>
  /** @returns false when there is no such rule */
  remove(actor: string, id: string): Promise<boolean>
  /** For a destination that is deleted, inside the deleting transaction. */
  disableFor(tx: Db, destinationId: string): Promise<void>
  /** Makes the rule "everything to this destination" unless it is there; inside the caller's transaction. */
  ensureEverything(tx: Db, actor: string, destinationId: string): Promise<void>
}

export interface RulesNeeds {
  readonly db: Database
  readonly book: Pick<RuleBook, 'reload'>
}

export function openRules(needs: RulesNeeds): Rules {
  return {
    async create(actor, rule) {
      if (!(rule.types ?? []).every((type) => compilePattern(type) !== undefined))
        return { kind: 'invalid_pattern' }
      const row = await needs.db.transaction((tx) => insertAudited(tx, actor, rule))
      if (row === undefined) return { kind: 'unknown_destination' }
      // This process matches with it at once; others when their next group meets the new revision.
      await needs.book.reload()
      return { kind: 'created', rule: row }
    },
    list: () => listRules(needs.db),
    async remove(actor, id) {
      const removed = await needs.db.transaction(async (tx) => {
        const row = await deleteRule(tx, id)
        if (row !== undefined) await audit(tx, { actor, action: 'rule.deleted', subject: id })
        return row !== undefined
      })
      if (removed) await needs.book.reload()
      return removed
    },
    disableFor: disableRulesOf,
    async ensureEverything(tx, actor, destinationId) {
      if (await hasUnconditionalRule(tx, destinationId)) return
      await insertAudited(tx, actor, { name: 'everything', destinationId })
    },
  }
}

async function insertAudited(tx: Db, actor: string, rule: NewRule): Promise<RuleRow | undefined> {
  const row = await insertRule(tx, {
    id: newId('rul'),
    name: rule.name,
    destination_id: rule.destinationId,
    types: [...(rule.types ?? [])],
    providers: [...(rule.providers ?? [])],
    connections: [...(rule.connections ?? [])],
  })
  if (row !== undefined)
    await audit(tx, {
      actor,
      action: 'rule.created',
      subject: row.id,
      detail: { name: row.name, destination: row.destination_id, types: row.types.join(' ') },
    })
  return row
}
