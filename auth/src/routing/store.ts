/** The one writer of auth.rules. Every change bumps the rule revision (a trigger of the migration does it). */
import type { Db } from '../db/sql.ts'
import { sql } from '../db/sql.ts'
import type { RuleDefinition } from './match.ts'

export interface RuleRow {
  readonly id: string
  readonly name: string
  readonly destination_id: string
  readonly types: string[]
  readonly providers: string[]
  readonly connections: string[]
  readonly enabled: boolean
  readonly created_at: Date
}

export interface RulesInForce {
  readonly revision: string
  readonly rules: readonly RuleDefinition[]
}

/** Revision and rules in one statement, so in one snapshot: read apart, old rules could carry a new number. */
export async function readRulesInForce(db: Db): Promise<RulesInForce> {
  const rows = await db.rows<{
    revision: string
    id: string | null
    destination_id: string
    types: string[]
    providers: string[]
    connections: string[]
  }>(sql`
    select r.revision, u.id, u.destination_id, u.types, u.providers, u.connections
      from auth.rule_revision r
      left join (auth.rules u join auth.destinations d on d.id = u.destination_id and d.deleted_at is null)
        on u.enabled
     order by u.id`)
  const [first] = rows
  if (first === undefined)
    throw Object.assign(new Error('the rule revision is missing'), { code: 'no_rule_revision', safe: true })
  const rules = rows.flatMap(({ id, destination_id, types, providers, connections }) =>
    id === null ? [] : [{ id, destinationId: destination_id, types, providers, connections }],
  )
  return { revision: first.revision, rules }
}

/** Inserts nothing when the destination is unknown or deleted; `for key share` holds a deletion off until the commit. */
export function insertRule(
  db: Db,
  rule: Omit<RuleRow, 'enabled' | 'created_at'>,
): Promise<RuleRow | undefined> {
  return db.one<RuleRow>(sql`
    insert into auth.rules (id, name, destination_id, types, providers, connections)
    select ${rule.id}, ${rule.name}, d.id, ${rule.types}::text[], ${rule.providers}::text[], ${rule.connections}::text[]
      from (select id from auth.destinations
             where id = ${rule.destination_id} and deleted_at is null for key share) d
    returning id, name, destination_id, types, providers, connections, enabled, created_at`)
}

export function listRules(db: Db): Promise<RuleRow[]> {
  return db.rows<RuleRow>(sql`
    select id, name, destination_id, types, providers, connections, enabled, created_at
      from auth.rules order by created_at, id limit 1000`)
}

/** Deliveries that the rule has caused stay: they name the rule without a foreign key. */
export function deleteRule(db: Db, id: string): Promise<{ id: string } | undefined> {
  return db.one<{ id: string }>(sql`delete from auth.rules where id = ${id} returning id`)
}

export async function disableRulesOf(db: Db, destinationId: string): Promise<void> {
  await db.rows(sql`
    update auth.rules set enabled = false where destination_id = ${destinationId} and enabled`)
}

export async function hasUnconditionalRule(db: Db, destinationId: string): Promise<boolean> {
  const found = await db.one(sql`
    select 1 from auth.rules
     where destination_id = ${destinationId} and enabled
       and types = '{}' and providers = '{}' and connections = '{}' limit 1`)
  return found !== undefined
}
