/** The commands for callers: services with credentials of their own. A token is printed once, when it is made. */
import { isPermission, PERMISSIONS, type Permission } from '../callers/caller.ts'
import { createCaller, listCallers, revokeCaller, rotateCaller } from '../callers/callers.ts'
import { ALL_CONNECTIONS, type ConnectionScope } from '../db/connection-scope.ts'
import { type Asked, type CommandFamily, type ExitCode, type Place, textOption } from './command.ts'

const text = { type: 'string' } as const
const ACTOR = 'admin-cli'
const NAME = /^[a-z0-9][a-z0-9-]{0,39}$/
const LONGEST_OVERLAP_SECONDS = 30 * 86_400

export const callerCommands: CommandFamily = {
  'callers create': {
    usage: '<name> --permissions <list> (--all | --providers <list> --users <list> --connections <list>)',
    summary: 'makes a caller and prints its token, once',
    details: `Lists are separated by commas. Permissions: ${PERMISSIONS.join(', ')}.
Each of --providers, --users, --connections narrows what the caller may touch; without any of them it touches nothing,
and --all must be said. The token is sent as X-Service-Token.`,
    options: {
      permissions: text,
      providers: text,
      users: text,
      connections: text,
      all: { type: 'boolean' },
    },
    needs: 'database',
    run: create,
  },
  'callers list': {
    usage: '',
    summary: 'shows the callers, what they may do, and how many of their tokens are valid',
    options: {},
    needs: 'database',
    run: list,
  },
  'callers rotate': {
    usage: '<name> [--overlap 24h]',
    summary: 'prints a new token; the earlier one works for the overlap (30m, 24h, 7d; 0 ends it at once)',
    options: { overlap: text },
    needs: 'database',
    run: rotate,
  },
  'callers revoke': {
    usage: '<name>',
    summary: 'ends a caller: all its tokens are refused within seconds, and its name is not used again',
    options: {},
    needs: 'database',
    run: revoke,
  },
}

async function create(place: Place, asked: Asked): Promise<ExitCode> {
  const [name, ...rest] = asked.words
  const permissions = listOption(asked, 'permissions')
  const wrong = permissions.find((permission) => !isPermission(permission))
  if (name === undefined || !NAME.test(name) || rest.length > 0) {
    place.complain('callers create needs one name of lower-case letters, digits and hyphens, at most 40')
    return 2
  }
  if (permissions.length === 0 || wrong !== undefined) {
    place.complain(`callers create needs --permissions, some of: ${PERMISSIONS.join(', ')}`)
    return 2
  }
  const scope = scopeOf(asked)
  if (scope === undefined) {
    place.complain('--all and --providers, --users or --connections exclude one another')
    return 2
  }
  const made = await createCaller(
    { db: place.db },
    { name, permissions: permissions.filter((one): one is Permission => isPermission(one)), scope },
    ACTOR,
  )
  if (made.kind === 'name_taken') {
    place.complain(`there is, or was, a caller ${name}: choose another name`)
    return 1
  }
  place.say(made.token)
  if (isEmpty(scope)) place.say('This caller touches no connection: it was given neither limits nor --all.')
  place.say('The token is shown this once. Send it as X-Service-Token.')
  return 0
}

async function list(place: Place): Promise<ExitCode> {
  const callers = await listCallers({ db: place.db })
  for (const caller of callers) {
    const limits = [
      ...(caller.all_connections ? ['all connections'] : []),
      ...caller.providers.map((one) => `provider ${one}`),
      ...caller.users.map((one) => `user ${one}`),
      ...caller.connections.map((one) => `connection ${one}`),
    ]
    const state =
      caller.revoked_at === null
        ? `${caller.live_tokens} valid token(s)${caller.overlap_until === null ? '' : `, one until ${caller.overlap_until.toISOString()}`}`
        : `revoked ${caller.revoked_at.toISOString()}`
    place.say(
      `${caller.name}  ${caller.permissions.join(',')}  ${limits.length === 0 ? 'no connection' : limits.join(', ')}  ${state}`,
    )
  }
  if (callers.length === 0) place.say('There are no callers. SERVICE_SECRET is the BFF’s.')
  return 0
}

async function rotate(place: Place, asked: Asked): Promise<ExitCode> {
  const [name] = asked.words
  const overlapSeconds = secondsOf(textOption(asked, 'overlap') ?? '24h')
  if (name === undefined || asked.words.length > 1 || overlapSeconds === undefined) {
    place.complain('callers rotate needs one name, and --overlap as 30m, 24h, 7d or 0, at most 30d')
    return 2
  }
  const rotated = await rotateCaller({ db: place.db }, { name, overlapSeconds }, ACTOR)
  if (rotated.kind === 'unknown') return unknown(place)
  place.say(rotated.token)
  if (rotated.earlierUntil !== undefined)
    place.say(`The earlier token is valid until ${rotated.earlierUntil.toISOString()}.`)
  return 0
}

async function revoke(place: Place, asked: Asked): Promise<ExitCode> {
  const [name] = asked.words
  if (name === undefined || asked.words.length > 1) {
    place.complain('callers revoke needs one name')
    return 2
  }
  const { kind } = await revokeCaller({ db: place.db }, name, ACTOR)
  if (kind === 'unknown') return unknown(place)
  place.say('Revoked: its tokens are refused within seconds.')
  return 0
}

function unknown(place: Place): ExitCode {
  place.complain('there is no such caller, or it was revoked: see npm run admin -- callers list')
  return 1
}

const listOption = (asked: Asked, name: string): string[] => [
  ...new Set((textOption(asked, name) ?? '').split(',').flatMap((one) => one.trim() || [])),
]

function scopeOf(asked: Asked): ConnectionScope | undefined {
  const limits = {
    providers: listOption(asked, 'providers'),
    users: listOption(asked, 'users'),
    connections: listOption(asked, 'connections'),
  }
  const limited = Object.values(limits).some((list) => list.length > 0)
  if (asked.options.all === true) return limited ? undefined : ALL_CONNECTIONS
  return { kind: 'limited', ...limits }
}

const isEmpty = (scope: ConnectionScope): boolean =>
  scope.kind === 'limited' && [...scope.providers, ...scope.users, ...scope.connections].length === 0

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 }

function secondsOf(given: string): number | undefined {
  if (given === '0') return 0
  const [, digits, unit] = /^([1-9]\d{0,5})([smhd])$/.exec(given) ?? []
  const seconds = Number(digits) * (UNITS[unit ?? ''] ?? Number.NaN)
  return seconds <= LONGEST_OVERLAP_SECONDS ? seconds : undefined
}
