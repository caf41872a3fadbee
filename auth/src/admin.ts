/**
 * The operator's command line: `npm run admin -- <command>`. It uses the same configuration as the service, prints one
 * sentence when something is wrong, and never prints a secret except the one it was asked to make.
 */
import { randomBytes } from 'node:crypto'
import { parseArgs } from 'node:util'
import { readConfig } from './config.ts'
import { makeSigninLink } from './connections/sessions.ts'
import { openPool } from './db/pool.ts'
import { openLog } from './platform/log.ts'

const HELP = `Usage: npm run admin -- <command>

  signin-link --user <e-mail> --role user|admin   makes a one-time sign-in link, valid for ten minutes
  generate-key                                    prints a new key for ENCRYPTION_KEY or ENCRYPTION_KEYS
  --help                                          prints this

The commands read the same environment as the service (DATABASE_URL, CONSOLE_BASE_URL …).
`

async function main(): Promise<number> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    strict: false,
    options: { user: { type: 'string' }, role: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
  })
  const [command] = positionals
  if (values.help === true || command === undefined) {
    process.stdout.write(HELP)
    return command === undefined && values.help !== true ? 2 : 0
  }
  if (command === 'generate-key') {
    process.stdout.write(`${randomBytes(32).toString('base64url')}=\n`)
    return 0
  }
  if (command === 'signin-link') return signinLink(values.user, values.role)
  process.stderr.write(`there is no command "${command.slice(0, 40)}": see npm run admin -- --help\n`)
  return 2
}

async function signinLink(user: unknown, role: unknown): Promise<number> {
  if (typeof user !== 'string' || !/^[^@\s]+@[^@\s]+$/.test(user) || (role !== 'user' && role !== 'admin')) {
    process.stderr.write('signin-link needs --user <e-mail> and --role user or --role admin\n')
    return 2
  }
  const reading = readConfig()
  if (reading.kind === 'mistakes') {
    for (const mistake of reading.mistakes) process.stderr.write(`${mistake}\n`)
    return 1
  }
  const { config } = reading
  const db = openPool({
    url: config.databaseUrl,
    name: 'work',
    size: 1,
    connectMs: 5_000,
    statementMs: 5_000,
    log: openLog({ write: () => {} }),
  })
  try {
    const link = await makeSigninLink({ db }, { email: user, role, actor: 'admin-cli' })
    if (link.kind === 'unknown_user') {
      process.stderr.write('the user table of the platform has no such user: create the user there first\n')
      return 1
    }
    process.stdout.write(
      `${config.consoleOrigin}/signin#${link.token}\nValid until ${link.expiresAt.toISOString()}, once.\n`,
    )
    return 0
  } catch {
    process.stderr.write(
      'the database of DATABASE_URL cannot be used: check that it runs and that the service has migrated it\n',
    )
    return 1
  } finally {
    await db.close()
  }
}

process.exitCode = await main()
