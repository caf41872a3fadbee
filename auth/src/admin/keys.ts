/**
 * The commands of the key ring, in the order of a rotation: add, deploy, promote, rewrap, disable. The first prints the
 * new key that it makes; the others print no key. Each refusal says what is in the way.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { monotonicMs } from '../platform/clock.ts'
import { rewrap } from '../vault/rewrap.ts'
import { type Beginning, beginRewrap } from '../vault/rewrap-begin.ts'
import { disableKey, promoteKey } from '../vault/rotation.ts'
import { findKeyRows, type LiveProcess } from '../vault/rotation-store.ts'
import { lookAtKeyRing } from '../vault/store.ts'
import { openVault } from '../vault/vault.ts'
import { type Asked, type CommandFamily, type ExitCode, type Place, textOption } from './command.ts'
import { newKeyText } from './generate-key.ts'
import { keyStatus } from './key-status.ts'

export const keyCommands: CommandFamily = {
  'keys status': {
    usage: '',
    summary:
      'every key with its status and rows, the live processes and the keys they hold, a running rewrap',
    options: {},
    needs: 'database',
    run: keyStatus,
  },
  'keys add': {
    usage: '[<id>]',
    summary: 'prints a new key to configure; stores nothing',
    details: `\nA rotation:
  1. keys add             put the printed key into ENCRYPTION_KEYS of every process and restart them, one by one
  2. keys promote <id>    from now on everything new is sealed with it
  3. keys rewrap          moves what is there; --new-data-keys when the old key leaked
  4. keys disable <old>   when nothing names it any more; then take it out of the environment\n`,
    options: {},
    needs: 'database',
    run: addKey,
  },
  'keys promote': {
    usage: '<id>',
    summary: 'makes a key the primary one, when every live process holds it',
    options: {},
    needs: 'database',
    run: (place, asked) => withId(place, asked, promote),
  },
  'keys rewrap': {
    usage: '[--rate <rows per second>] [--new-data-keys]',
    summary:
      'moves every row to the primary key while the service runs; asked again, it goes on where it was',
    details: `\n  --rate             at most so many rows in a second (1000)
  --new-data-keys    for a key that leaked: new data keys, and every sealed value sealed anew\n`,
    options: { rate: { type: 'string' }, 'new-data-keys': { type: 'boolean' } },
    needs: 'database',
    run: runRewrap,
  },
  'keys disable': {
    usage: '<id>',
    summary: 'ends the use of a key, when no row and no subscription names it',
    options: {},
    needs: 'database',
    run: (place, asked) => withId(place, asked, disable),
  },
}

const ID = /^[a-z0-9]{1,16}$/

async function withId(
  place: Place,
  asked: Asked,
  run: (place: Place, keyId: string) => Promise<ExitCode>,
): Promise<ExitCode> {
  const [keyId, ...more] = asked.words
  if (keyId !== undefined && more.length === 0 && ID.test(keyId)) return run(place, keyId)
  place.complain('give the id of one key, as keys status shows it')
  return 2
}

async function addKey(place: Place, asked: Asked): Promise<ExitCode> {
  const known = new Set([
    ...place.config.keys.keys(),
    ...(await findKeyRows(place.db)).map((row) => row.key_id),
  ])
  const [wanted, ...more] = asked.words
  if (more.length > 0 || (wanted !== undefined && !ID.test(wanted))) {
    place.complain('an id has up to 16 lower-case letters and digits')
    return 2
  }
  const numbers = [...known].flatMap((id) => (/^k\d{1,9}$/.test(id) ? [Number(id.slice(1))] : []))
  const keyId = wanted ?? `k${Math.max(-1, ...numbers) + 1}`
  if (known.has(keyId)) {
    place.complain(`there is a key "${keyId}" already: an id is used once`)
    return 1
  }
  place.say(`${keyId}:${newKeyText()}`)
  place.say('')
  place.say(
    'Add this to ENCRYPTION_KEYS of every process (comma separated) and leave the earlier keys there.',
  )
  place.say(`Restart them one by one, then: npm run admin -- keys promote ${keyId}`)
  place.say('Keep a copy where the keys are kept, apart from the backups of the database.')
  return 0
}

async function promote(place: Place, keyId: string): Promise<ExitCode> {
  const ring = await lookAtKeyRing(place.db, place.config.keys)
  const outcome = await promoteKey({ db: place.db, ring }, keyId)
  switch (outcome.kind) {
    case 'promoted':
      place.say(`Key "${keyId}" is primary. ${outcome.processes} live processes take it within seconds.`)
      place.say('Next: npm run admin -- keys rewrap')
      return 0
    case 'already_primary':
      place.say(`Key "${keyId}" is primary already.`)
      return 0
    case 'not_held_by':
      place.complain(`Key "${keyId}" is not configured in every live process. These lack it:`)
      for (const process of outcome.lacking) place.complain(`  ${nameOf(process)}`)
      return 1
    case 'unknown':
      place.complain(`No process has reported a key "${keyId}": configure it in ENCRYPTION_KEYS and restart.`)
      return 1
    case 'not_held_here':
      place.complain(`Key "${keyId}" is not in ENCRYPTION_KEYS of this command, or is another key.`)
      return 1
    case 'disabled':
      place.complain(`Key "${keyId}" is disabled: add a new one.`)
      return 1
    default:
      return outcome satisfies never
  }
}

const MOST_ROWS = 100_000
/** Longer than a heartbeat: processes that run have followed by then. */
const FOLLOW_MS = 10_000

async function runRewrap(place: Place, asked: Asked): Promise<ExitCode> {
  const rate = Number(textOption(asked, 'rate') ?? 1000)
  if (!Number.isInteger(rate) || rate < 1 || rate > MOST_ROWS || asked.words.length > 0) {
    place.complain(`--rate is a number of rows per second, from 1 to ${MOST_ROWS}`)
    return 2
  }
  const ring = await lookAtKeyRing(place.db, place.config.keys)
  const kind = asked.options['new-data-keys'] === true ? 'new_data_keys' : 'wrap'
  const untilMs = monotonicMs() + FOLLOW_MS
  let beginning: Beginning = await beginRewrap({ db: place.db, ring }, kind)
  while (beginning.kind === 'not_followed_by' && monotonicMs() < untilMs) {
    await pause(500)
    beginning = await beginRewrap({ db: place.db, ring }, kind)
  }
  switch (beginning.kind) {
    case 'nothing_to_do':
      place.say(`Every row is on key "${ring.primaryId}".`)
      return 0
    case 'new_data_keys_open':
      place.complain(
        'A rewrap with new data keys was interrupted: finish it with keys rewrap --new-data-keys.',
      )
      return 1
    case 'not_followed_by':
      place.complain(`These processes do not seal with key "${ring.primaryId}" yet:`)
      for (const process of beginning.processes) place.complain(`  ${nameOf(process)}`)
      return 1
    case 'begun':
      break
    default:
      return beginning satisfies never
  }
  const { run, resumed } = beginning
  place.say(
    `${resumed ? `Going on after ${run.done}` : 'Beginning'}: ${run.total} rows to key "${run.key_id}", at most ${rate}/s. It may be stopped at any time.`,
  )
  let saidMs = monotonicMs()
  const progress = (at: { done: number; total: number }) => {
    if (monotonicMs() - saidMs < 1_000) return
    saidMs = monotonicMs()
    place.say(`  ${at.done} of ${at.total}`)
  }
  const vault = openVault(ring)
  const needs = { db: place.db, vault, ring, pause: (ms: number) => pause(ms), monotonicMs, progress }
  const outcome = await rewrap(needs, run, rate)
  switch (outcome.kind) {
    case 'finished':
      place.say(`Done: ${outcome.done} rows are on key "${run.key_id}".`)
      if (outcome.unreadable.length === 0) return 0
      place.complain(
        `${outcome.unreadable.length} rows were damaged before and cannot be opened; they stay until their accounts are connected again or disconnected:`,
      )
      for (const name of outcome.unreadable.slice(0, 20)) place.complain(`  ${name}`)
      return 1
    case 'not_primary':
      place.complain('Another key became primary meanwhile: ask again.')
      return 1
    case 'ended':
      place.complain('Another command finished this rewrap or began another one: see keys status.')
      return 1
    default:
      return outcome satisfies never
  }
}

async function disable(place: Place, keyId: string): Promise<ExitCode> {
  const outcome = await disableKey({ db: place.db }, keyId)
  switch (outcome.kind) {
    case 'disabled':
      place.say(`Key "${keyId}" is disabled. It may be taken out of the environment of every process.`)
      place.say('Keep it as long as backups exist that were made while it was in use.')
      return 0
    case 'already_disabled':
      place.say(`Key "${keyId}" is disabled already.`)
      return 0
    case 'unknown':
      place.complain(`There is no key "${keyId}": see keys status.`)
      return 1
    case 'primary':
      place.complain(`Key "${keyId}" is primary: promote another one first.`)
      return 1
    case 'sealed_with_by':
      place.complain(`These processes still seal with key "${keyId}":`)
      for (const process of outcome.processes) place.complain(`  ${nameOf(process)}`)
      return 1
    case 'named_by_rows':
      place.complain(`Rows still name key "${keyId}": npm run admin -- keys rewrap`)
      for (const { table, rows } of outcome.rows) place.complain(`  ${table}: ${rows}`)
      return 1
    case 'named_by_subscriptions':
      place.complain(
        `${outcome.count} subscriptions at providers were made with key "${keyId}"; ${
          outcome.until === null ? 'they have no end' : `the last ends at ${outcome.until.toISOString()}`
        }.`,
      )
      return 1
    default:
      return outcome satisfies never
  }
}

export const nameOf = (process: LiveProcess): string =>
  `${process.id.slice(0, 8)} (${process.role}, version ${process.version}, keys ${process.key_ids.join(' ')})`
