/**
 * What a command of the operator's command line is, and what it may use. A family of commands is one file beside this
 * one; `admin.ts` has the table. Commands print sentences, answer with an exit code, and never print a secret except
 * the one they were asked to make.
 */
import type { ParseArgsOptionsConfig } from 'node:util'
import type { Config } from '../config.ts'
import type { Database } from '../db/sql.ts'

/** 0 done · 1 refused or failed · 2 called wrongly */
export type ExitCode = 0 | 1 | 2

export interface Terminal {
  /** One line for the operator. */
  say(line: string): void
  /** One line about what is wrong. */
  complain(line: string): void
}

/** Configuration and database, as the service has them. */
export interface Place extends Terminal {
  readonly config: Config
  readonly db: Database
}

export interface Asked {
  /** Words after the name of the command. */
  readonly words: readonly string[]
  readonly options: Readonly<Record<string, string | boolean | undefined>>
}

interface CommandTexts {
  /** What follows the name: `--user <e-mail>`. */
  readonly usage: string
  /** One line. */
  readonly summary: string
  /** More lines for `--help` of this command. */
  readonly details?: string
  readonly options: ParseArgsOptionsConfig
}

export type Command = CommandTexts &
  (
    | { readonly needs: 'nothing'; run(terminal: Terminal, asked: Asked): ExitCode | Promise<ExitCode> }
    | { readonly needs: 'database'; run(place: Place, asked: Asked): Promise<ExitCode> }
  )

/** By name: one word, or two for a family (`keys status`). */
export type CommandFamily = Readonly<Record<string, Command>>

/** @returns the text of an option, undefined when it was not given */
export function textOption(asked: Asked, name: string): string | undefined {
  const value = asked.options[name]
  return typeof value === 'string' ? value : undefined
}
