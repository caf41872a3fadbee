/**
 * Guards of admitting, storing and acknowledging, each taken away, and the tests that must turn red then (RE-16).
 * `synchronous_commit=off` stands in no code: `npm run faults -- postgres-kills` runs with it and must see the loss.
 */
import type { Mutant } from './mutant.ts'

const GROUPS = ['auth/test/ingest/group-commit.test.ts']
const LEDGER = ['auth/test/ledger/ledger.test.ts']
const LOOKUP = ['auth/test/subscriptions/lookup.test.ts']

export const STORING: readonly Mutant[] = [
  {
    name: 'acknowledged before the commit',
    file: 'auth/src/ingest/group-commit.ts',
    from: `        queuedBytes += bytes
        schedule()
      })`,
    to: `        queuedBytes += bytes
        schedule()
        resolve('stored')
      })`,
    tests: GROUPS,
  },
  {
    name: 'acknowledged although the commit failed',
    file: 'auth/src/ingest/group-commit.ts',
    from: `waiting.settle(isDataError(state) ? 'poison' : 'unavailable')`,
    to: `waiting.settle('stored')`,
    tests: GROUPS,
  },
  {
    name: 'one bad item refuses its group',
    file: 'auth/src/ingest/group-commit.ts',
    from: 'if (group.length > 1 && (isDataError(state) ||',
    to: 'if (group.length > 1 && (',
    tests: GROUPS,
  },
  {
    name: 'a deadlock reaches the sender',
    file: 'auth/src/ingest/group-commit.ts',
    from: `(state === '40P01' || state === '40001') && tried.again !== true`,
    to: `state === '40P01' && tried.again === true`,
    tests: GROUPS,
  },
  {
    name: 'the buffer has no end',
    file: 'auth/src/ingest/group-commit.ts',
    from: 'if (closed || queue.length >= options.bufferItems || queuedBytes + bytes > options.bufferBytes)',
    to: 'if (closed)',
    tests: GROUPS,
  },
  {
    name: 'ending does not wait for what was admitted',
    file: 'auth/src/ingest/group-commit.ts',
    from: 'if (flushing === 0 && queue.length === 0) return Promise.resolve()',
    to: 'if (closed) return Promise.resolve()',
    tests: GROUPS,
  },
  {
    name: 'a request waits as long as the database does',
    file: 'auth/src/ingest/group-commit.ts',
    from: `          resolve('unavailable')
        }, answerMs)`,
    to: '        }, answerMs)',
    tests: GROUPS,
  },
  {
    name: 'a lifecycle message is acknowledged before it is written down',
    file: 'auth/src/ingest/in-time.ts',
    from: 'if (!isLate) refuse(',
    to: 'if (isLate) refuse(',
    tests: ['auth/test/ingest/receive.test.ts'],
  },
  {
    name: 'a repetition is a new event',
    file: 'auth/src/ledger/ledger.ts',
    from: 'const identity = event.identity === undefined ? null : sha256(event.identity)',
    to: 'const identity = event.identity === undefined ? null : sha256(newId(`evt`))',
    tests: LEDGER,
  },
  {
    name: 'two connections share the identity of their events',
    file: 'auth/src/ledger/ledger.ts',
    from: 'const scope = event.connectionId ??',
    to: 'const scope =',
    tests: LEDGER,
  },
  {
    name: 'keys are written in any order',
    file: 'auth/src/ledger/store.ts',
    from: `       order by scope, identity
      on conflict do nothing`,
    to: '      on conflict do nothing',
    tests: LEDGER,
  },
  {
    name: 'rules that changed meanwhile do not count',
    file: 'auth/src/ledger/store.ts',
    from: '::bigint as is_matched',
    to: '::bigint is not null as is_matched',
    tests: LEDGER,
  },
  {
    name: 'a repetition is delivered again',
    file: 'auth/src/ledger/store.ts',
    from: 'where t.event_id in (select id from fresh) and t.destination_id',
    to: 'where t.destination_id',
    tests: LEDGER,
  },
  {
    name: 'bodies have no limit',
    file: 'auth/src/http/body.ts',
    from: 'if (length > limitBytes || chunks.length === MOST_PIECES)',
    to: 'if (chunks.length === MOST_PIECES)',
    tests: ['auth/test/http/wire-abuse.test.ts'],
  },
  {
    name: 'bodies may come letter by letter',
    file: 'auth/src/http/body.ts',
    from: 'if (length > limitBytes || chunks.length === MOST_PIECES)',
    to: 'if (length > limitBytes)',
    tests: ['auth/test/http/places.test.ts', 'auth/test/http/wire-abuse.test.ts'],
  },
  {
    name: 'a compressed body is read',
    file: 'auth/src/http/body.ts',
    from: `if (encoding !== undefined && encoding !== 'identity')`,
    to: 'if (encoding === null)',
    tests: ['auth/test/http/wire-abuse.test.ts', 'auth/test/http/bad-input-public.test.ts'],
  },
  {
    name: 'a forgery asks the database',
    file: 'auth/src/subscriptions/lookup.ts',
    from: 'if (!bySecret.has(key) && !needs.channelKeys.genuineChannelSecret(presented)) return undefined',
    to: '',
    tests: LOOKUP,
  },
  {
    name: 'what is unknown is remembered as unknown',
    file: 'auth/src/subscriptions/lookup.ts',
    from: 'keepMs: value.length === 0 ? NOT_KEPT : ADDRESS_MS',
    to: 'keepMs: ADDRESS_MS',
    tests: LOOKUP,
  },
  {
    name: 'a secret is good at any provider',
    file: 'auth/src/subscriptions/store.ts',
    from: '       and s.provider = ',
    to: "       and '' <> ",
    tests: LOOKUP,
  },
  {
    name: 'a secret of what is over is still good',
    file: 'auth/src/subscriptions/store.ts',
    from: " and s.state in ('wanted', 'active') and c.status <> 'revoked'",
    to: '',
    tests: LOOKUP,
  },
  {
    name: 'a push reaches connections of another provider',
    file: 'auth/src/subscriptions/store.ts',
    from: 'where c.provider = ',
    to: "where '' <> ",
    tests: LOOKUP,
  },
  {
    name: 'one subscription’s private key opens another’s content',
    file: 'auth/src/subscriptions/certificate-store.ts',
    from: ' and subscription_id = ',
    to: " and '' <> ",
    tests: ['auth/test/subscriptions/certificates.test.ts'],
  },
  {
    name: 'a database that loses what it acknowledged is good enough',
    file: 'auth/src/db/durability.ts',
    from: `if (row?.fsync !== 'on')`,
    to: 'if (row === undefined)',
    tests: ['auth/test/config/unsafe-database.test.ts'],
  },
  {
    name: 'so is one that commits later',
    file: 'auth/src/db/durability.ts',
    from: `if (row?.synchronous_commit !== 'on' && row?.synchronous_commit !== 'remote_apply')`,
    to: 'if (row === undefined)',
    tests: ['auth/test/config/unsafe-database.test.ts'],
  },
  {
    name: 'one that becomes so is found by a probe alone',
    file: 'auth/src/db/readiness.ts',
    from: 'setInterval(() => void look(), DURABILITY_MS)',
    to: 'setInterval(() => {}, DURABILITY_MS)',
    tests: ['auth/test/db/readiness.test.ts'],
  },
]
