/**
 * The operator's command line: `npm run admin -- <command>`. It uses the same configuration as the service, prints one
 * sentence when something is wrong, and never prints a secret except the one it was asked to make. The commands are
 * in `admin/`, one file for each family.
 */
import { parseArgs } from 'node:util'
import { callerCommands } from './admin/callers.ts'
import type { Asked, Command, CommandFamily, ExitCode, Terminal } from './admin/command.ts'
import { generateKeyCommands } from './admin/generate-key.ts'
import { keyCommands } from './admin/keys.ts'
import { signinCommands } from './admin/signin.ts'
import { readConfig } from './config.ts'
import { openPool } from './db/pool.ts'
import { sqlState } from './db/sql.ts'
import { openLog } from './platform/log.ts'

const COMMANDS: CommandFamily = {
  ...signinCommands,
  ...generateKeyCommands,
  ...keyCommands,
  ...callerCommands,
}

const terminal: Terminal = {
  say: (line) => void process.stdout.write(`${line}\n`),
  complain: (line) => void process.stderr.write(`${line}\n`),
}

async function main(argv: readonly string[]): Promise<ExitCode> {
  const [first, second] = argv
  if (first === undefined || first === '--help' || first === '-h') {
    terminal.say(helpOf(Object.entries(COMMANDS)))
    return first === undefined ? 2 : 0
  }
  const name = Object.hasOwn(COMMANDS, `${first} ${second}`) ? `${first} ${second}` : first
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (command === undefined) {
    const family = Object.entries(COMMANDS).filter(([full]) => full.startsWith(`${first} `))
    if (family.length > 0 && (second === '--help' || second === '-h' || second === undefined)) {
      terminal.say(helpOf(family))
      return second === undefined ? 2 : 0
    }
    terminal.complain(
      `there is no command "${argv.slice(0, 2).join(' ').slice(0, 40)}": see npm run admin -- --help`,
    )
    return 2
  }
  const asked = readAsked(command, argv.slice(name.split(' ').length))
  if (asked === undefined) {
    terminal.complain(`${name} was called wrongly: see npm run admin -- ${name} --help`)
    return 2
  }
  if (asked.options.help === true) {
    terminal.say(
      `Usage: npm run admin -- ${name} ${command.usage}\n\n${command.summary}\n${command.details ?? ''}`,
    )
    return 0
  }
  return command.needs === 'nothing' ? command.run(terminal, asked) : runOnDatabase(command, asked)
}

function readAsked(command: Command, argv: readonly string[]): Asked | undefined {
  try {
    const { positionals, values } = parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: { ...command.options, help: { type: 'boolean', short: 'h' } },
    })
    return { words: positionals, options: values as Asked['options'] }
  } catch {
    return undefined
  }
}

async function runOnDatabase(
  command: Extract<Command, { needs: 'database' }>,
  asked: Asked,
): Promise<ExitCode> {
  const reading = readConfig()
  if (reading.kind === 'mistakes') {
    for (const mistake of reading.mistakes) terminal.complain(mistake)
    return 1
  }
  const { config } = reading
  const log = openLog({ write: () => {} })
  const url = config.databaseUrl
  const db = openPool({ url, name: 'work', size: 2, connectMs: 5_000, statementMs: 30_000, log })
  try {
    return await command.run({ ...terminal, config, db }, asked)
  } catch (error) {
    terminal.complain(sentenceOf(error))
    return 1
  } finally {
    await db.close()
  }
}

/** Sentences of ours as they are; of anything else only what the operator can do. */
function sentenceOf(error: unknown): string {
  if (error instanceof Error && 'safe' in error && error.safe === true) return error.message
  const state = sqlState(error)
  const known = state === undefined || state === '42P01' || state === '3F000' ? '' : ` (SQLSTATE ${state})`
  return `the database of DATABASE_URL cannot be used: check that it runs and that the service has migrated it${known}`
}

function helpOf(commands: readonly [string, Command][]): string {
  const lines = commands.map(
    ([name, { usage, summary }]) => `  ${`${name} ${usage}`.trimEnd()}\n      ${summary}`,
  )
  return `Usage: npm run admin -- <command>\n\n${lines.join('\n')}\n  --help, also after a command\n\nThe commands read the same environment as the service (DATABASE_URL, CONSOLE_BASE_URL …).`
}

process.exitCode = await main(process.argv.slice(2))
