/**
 * Whether an error says that the database cannot be used now: not reachable, ending, or silent past its deadline. Such a
 * request may be sent again; every other error is a fault of ours.
 */
import { sqlState } from './sql.ts'

/** 08 connection · 53 resources · 57P0x the server ends or starts · 57014 past the statement deadline */
const STATES = /^(08|53|57P0[1-3]|57014)/
const CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
])
/** The client's own words; these errors of `pg` have no code. */
const MESSAGES = /^(timeout exceeded when trying to connect|Query read timeout|Connection terminated)/

export function isDatabaseAway(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if (STATES.test(sqlState(error) ?? '')) return true
  if ('code' in error && typeof error.code === 'string' && CODES.has(error.code)) return true
  return MESSAGES.test(error.message)
}
