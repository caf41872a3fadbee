/**
 * The only door to PostgreSQL: tagged templates, so that a value can never become SQL, and three small interfaces
 * that stores take as their first parameter. Whether it is a pool or a transaction is the caller's business.
 */
import sqlTag, { empty, join, raw, type Sql } from 'sql-template-tag'

export const sql = sqlTag
export { empty, join, raw, type Sql }

export interface Db {
  /** @param prepared name of a statement whose text never changes: parsed once and planned once for each connection */
  rows<R extends object>(query: Sql, prepared?: string): Promise<R[]>
  /** The first row, if any. */
  one<R extends object>(query: Sql, prepared?: string): Promise<R | undefined>
}

export interface Transaction extends Db {
  /** Rolls back to the savepoint when `work` throws, then throws on; the transaction stays usable. */
  savepoint<T>(work: () => Promise<T>): Promise<T>
}

export interface Database extends Db {
  /** Commits when `work` resolves, rolls back when it throws. Never hold one across HTTP. */
  transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T>
}

/** SQLSTATE of an error from the server, if it is one. */
export function sqlState(error: unknown): string | undefined {
  return error instanceof Error &&
    'code' in error &&
    typeof error.code === 'string' &&
    /^[0-9A-Z]{5}$/.test(error.code)
    ? error.code
    : undefined
}
