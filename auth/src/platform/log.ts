/**
 * JSON lines through pino, with an allow-list instead of a deny-list: only plain values can be logged, each capped,
 * and an error is reduced to its code and a capped first line. Objects, requests, bodies and causes never get in.
 */
import { type DestinationStream, type Logger, pino } from 'pino'

export type LogValue = string | number | boolean | null | undefined
export type LogFields = Readonly<Record<string, LogValue>>

export interface Log {
  info(fields: LogFields, message: string): void
  warn(fields: LogFields, message: string): void
  error(fields: LogFields, message: string): void
  child(fields: LogFields): Log
}

const VALUE_LIMIT = 512

/** @param stream where the lines go; standard output unless given */
export function openLog(stream?: DestinationStream): Log {
  const options = {
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  }
  return wrap(stream ? pino(options, stream) : pino(options))
}

function wrap(logger: Logger): Log {
  return {
    info: (fields, message) => logger.info(plain(fields), message),
    warn: (fields, message) => logger.warn(plain(fields), message),
    error: (fields, message) => logger.error(plain(fields), message),
    child: (fields) => wrap(logger.child(plain(fields))),
  }
}

function plain(fields: LogFields): Record<string, LogValue> {
  const out: Record<string, LogValue> = {}
  for (const [key, value] of Object.entries(fields)) {
    if (typeof value === 'string') out[key] = value.slice(0, VALUE_LIMIT)
    else if (typeof value === 'number' || typeof value === 'boolean' || value === null) out[key] = value
  }
  return out
}

/**
 * What may be said of an error: its code, its class, and where it was thrown. The message is kept only of errors of
 * our own (they have a `code` in our spelling and are written without values); others can quote a request.
 */
export function errorFields(error: unknown): LogFields {
  if (!(error instanceof Error)) return { error_class: typeof error }
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  // The message stands at the head of the stack and may quote anything: it is cut off before a frame is looked for.
  const frames = error.stack?.startsWith(`${error.name}: ${error.message}`)
    ? error.stack.slice(error.name.length + 2 + error.message.length)
    : ''
  const at = /\n\s+at (?:[^\n]*[/\\])?([\w.-]+:\d+:\d+)\)?(?:\n|$)/.exec(frames)?.[1]
  return {
    error_class: error.name,
    error_code: code,
    error_at: at,
    error_message: 'safe' in error && error.safe === true ? error.message : undefined,
  }
}
