/**
 * The one error that the client throws. It carries the answer's own code and sentence and never a token, a header,
 * a URL or a body.
 */

export interface ConnectErrorFields {
  /** HTTP status of the answer; 0 when there was none. */
  readonly status: number
  /** Stable code of the answer (`not_found`, `flow_refused` …), or ours: `unreachable`, `timeout`, `bad_answer`. */
  readonly error: string
  readonly message: string
  /** A fixed word of our own that some answers add: why an exchange failed. */
  readonly reason?: string | undefined
  /** Of `several_connections`: ask for one of them. */
  readonly connectionIds?: readonly string[] | undefined
  readonly cause?: unknown
}

export class ConnectError extends Error {
  readonly status: number
  readonly error: string
  readonly reason: string | undefined
  readonly connectionIds: readonly string[] | undefined

  constructor(fields: ConnectErrorFields) {
    super(fields.message, fields.cause === undefined ? undefined : { cause: fields.cause })
    this.name = 'ConnectError'
    this.status = fields.status
    this.error = fields.error
    this.reason = fields.reason
    this.connectionIds = fields.connectionIds
  }
}
