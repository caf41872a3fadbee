/**
 * Which destinations an event goes to. Rules are compiled once per revision; matching is linear in the rules and never
 * asks the database.
 *
 * Decision: the contract says one delivery per matching rule. When two rules name the same destination and both match,
 * the event is sent there once, for the first rule by id: `webhook-id` would be the same in both deliveries, so the
 * receiver would drop the second as a repetition anyway.
 */
import { compilePattern, type TypePattern, typeSegments } from './pattern.ts'

export interface RuleDefinition {
  readonly id: string
  readonly destinationId: string
  /** Each list: empty means any. */
  readonly types: readonly string[]
  readonly providers: readonly string[]
  readonly connections: readonly string[]
}

export interface MatchInput {
  /** Without prefix: `mail.mailbox.v1.notified`. */
  readonly type: string
  readonly provider?: string
  readonly connectionId?: string
  /** CloudEvents subject; `destinations/<id>` keeps the event from going to that destination. */
  readonly subject?: string
}

export interface Match {
  readonly ruleId: string
  readonly destinationId: string
}

export type Matcher = (event: MatchInput) => readonly Match[]

export function compileRules(rules: readonly RuleDefinition[]): Matcher {
  const byDestination = new Map<string, CompiledRule[]>()
  for (const rule of [...rules].sort((a, b) => (a.id < b.id ? -1 : 1))) {
    const compiled = byDestination.get(rule.destinationId) ?? []
    compiled.push(compile(rule))
    byDestination.set(rule.destinationId, compiled)
  }
  return (event) => {
    const segments = typeSegments(event.type)
    const matches: Match[] = []
    for (const [destinationId, candidates] of byDestination) {
      // What is said about a destination is never told to it: a failing one would feed itself.
      if (event.subject === `destinations/${destinationId}`) continue
      const rule = candidates.find((candidate) => candidate.matches(event, segments))
      if (rule !== undefined) matches.push({ ruleId: rule.id, destinationId })
    }
    return matches
  }
}

interface CompiledRule {
  readonly id: string
  matches(event: MatchInput, segments: readonly string[]): boolean
}

function compile(rule: RuleDefinition): CompiledRule {
  // A pattern that cannot be read matches nothing; if no pattern is left, neither does the rule: never "any" by mistake.
  const patterns = rule.types
    .map(compilePattern)
    .filter((pattern): pattern is TypePattern => pattern !== undefined)
  const providers = new Set(rule.providers)
  const connections = new Set(rule.connections)
  return {
    id: rule.id,
    matches: (event, segments) =>
      (rule.types.length === 0 || patterns.some((pattern) => pattern.matches(segments))) &&
      isAnyOrHas(providers, event.provider) &&
      isAnyOrHas(connections, event.connectionId),
  }
}

function isAnyOrHas(wanted: ReadonlySet<string>, value: string | undefined): boolean {
  return wanted.size === 0 || (value !== undefined && wanted.has(value))
}
