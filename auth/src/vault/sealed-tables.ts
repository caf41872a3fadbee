/**
 * Every table whose rows have a data key: one line for each. What seals into a table that is not here does not compile
 * (`KeyContext.purpose`), and a test compares the lines with the columns of the database and with every `seal(…)` in
 * the code. A rewrap and the count of rows for each key go by this list. Holds no secret.
 */

export interface SealedTable {
  /** Column of the vault context's owner; absent: nobody owns the rows. */
  readonly owner?: string
  readonly provider?: string
  /** Columns sealed with the row's data key. */
  readonly cells: readonly string[]
  /** Due rows whose lease says that somebody works with the row's opened key right now. */
  readonly leases?: string
  /** `version` is raised when cells change, so that whoever opened the earlier key writes nothing. */
  readonly versioned?: true
  /** Rows end by themselves within minutes: their data keys are wrapped anew and never replaced. */
  readonly passing?: true
}

export const SEALED_TABLES = {
  oauth_tokens: {
    owner: 'owner_id',
    provider: 'provider',
    cells: ['access_token', 'refresh_token'],
    leases: 'auth.refreshes',
    versioned: true,
  },
  oauth_states: {
    owner: 'owner_id',
    provider: 'provider',
    cells: ['verifier', 'nonce', 'code'],
    passing: true,
  },
  subscription_certificates: { owner: 'owner_id', provider: 'provider', cells: ['private_key'] },
  destinations: { cells: ['secret', 'previous_secret', 'headers'] },
} as const satisfies Readonly<Record<string, SealedTable>>

/** Name of a table in the schema `auth`, and what a sealed value of it is bound to. */
export type Purpose = keyof typeof SEALED_TABLES

export const PURPOSES = Object.keys(SEALED_TABLES) as readonly Purpose[]
