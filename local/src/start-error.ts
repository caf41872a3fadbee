/**
 * A mistake of the surroundings that a person can put right: a taken port, a missing file, data of another
 * version. Its message is one sentence that says what to do; it never carries a secret, and whoever prints it
 * prints no stack.
 */
export class StartError extends Error {
  override readonly name = 'StartError'
  readonly code: StartErrorCode

  constructor(code: StartErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

export type StartErrorCode =
  | 'already_running'
  | 'child_died'
  | 'child_not_ready'
  | 'console_not_built'
  | 'data_directory'
  | 'demo_incomplete'
  | 'database_unreachable'
  | 'port_taken'
  | 'postgres_failed'
  | 'postgres_missing'
  | 'secrets_file'
  | 'settings'
  | 'wrong_major'
