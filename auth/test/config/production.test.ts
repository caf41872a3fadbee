/** OP-06: in production an unsafe configuration is refused, all mistakes at once, without a value. */
import { randomBytes } from 'node:crypto'
import { describe, expect, inject, test } from 'vitest'
import { newEncryptionKey } from '../../../e2e/src/seed.ts'
import { readConfig } from '../../src/config.ts'
import { runAuth } from '../world.ts'

const KEY = newEncryptionKey()

const safe = (): Record<string, string> => ({
  AUTH_HOST: '127.0.0.1',
  AUTH_PORT: '0',
  AUTH_INTERNAL_PORT: '0',
  DATABASE_URL: 'postgres://flovify:a-password-of-its-own@127.0.0.1:5432/flovify',
  SERVICE_SECRET: randomBytes(32).toString('base64url'),
  ENCRYPTION_KEY: KEY,
  WEBHOOK_BASE_URL: 'https://webhooks.example.com',
  CONSOLE_BASE_URL: 'https://console.example.com',
  MICROSOFT_CLIENT_ID: 'client',
  MICROSOFT_CLIENT_SECRET: 'client secret of microsoft',
})

const mistakesOf = (more: Record<string, string | undefined>, flags: string[] = []): readonly string[] => {
  const reading = readConfig({ ...safe(), ...more }, flags)
  return reading.kind === 'mistakes' ? reading.mistakes : []
}

const url = (password: string) => `postgres://flovify:${encodeURIComponent(password)}@127.0.0.1:5432/flovify`
const SECRET = randomBytes(32).toString('base64url')

const unsafe: [string, RegExp, Record<string, string | undefined>, string[]?][] = [
  ['no database', /DATABASE_URL is missing/, { DATABASE_URL: undefined }],
  [
    'a database that is no PostgreSQL',
    /DATABASE_URL is not a PostgreSQL URL/,
    { DATABASE_URL: 'mysql://a:b@127.0.0.1/c' },
  ],
  [
    'certificates that nobody verifies',
    /NODE_TLS_REJECT_UNAUTHORIZED=0 accepts every certificate/,
    { NODE_TLS_REJECT_UNAUTHORIZED: '0' },
  ],
  ['no service secret', /SERVICE_SECRET is missing/, { SERVICE_SECRET: undefined }],
  ['a blank service secret', /SERVICE_SECRET is missing/, { SERVICE_SECRET: '   ' }],
  ['a short service secret', /SERVICE_SECRET is too short/, { SERVICE_SECRET: SECRET.slice(0, 31) }],
  [
    'the service secret of an example',
    /SERVICE_SECRET is not random/,
    { SERVICE_SECRET: 'change-me-change-me-change-me-change-me' },
  ],
  ['a service secret that is a word', /SERVICE_SECRET is not random/, { SERVICE_SECRET: `secret${SECRET}` }],
  ['a service secret of one letter', /SERVICE_SECRET is not random/, { SERVICE_SECRET: 'z'.repeat(43) }],
  ['no key', /ENCRYPTION_KEY is missing/, { ENCRYPTION_KEY: undefined }],
  ['a short key', /not 32 bytes/, { ENCRYPTION_KEY: randomBytes(31).toString('base64url') }],
  ['a key of zeroes', /is not random/, { ENCRYPTION_KEY: Buffer.alloc(32).toString('base64url') }],
  ['a key of one letter', /is not random/, { ENCRYPTION_KEY: `${'A'.repeat(43)}=` }],
  [
    'a ring with one bad key',
    /key "k2" is not 32 bytes/,
    { ENCRYPTION_KEYS: `k1:${newEncryptionKey()},k2:short` },
  ],
  ['the key as service secret', /must differ/, { SERVICE_SECRET: KEY }],
  ['the key as service secret without padding', /must differ/, { SERVICE_SECRET: KEY.replace('=', '') }],
  ['the key as database password', /must differ/, { DATABASE_URL: url(KEY) }],
  [
    'the service secret as database password',
    /must differ/,
    { SERVICE_SECRET: SECRET, DATABASE_URL: url(SECRET) },
  ],
  [
    'a key of the ring as service secret',
    /must differ/,
    { ENCRYPTION_KEYS: `k1:${SECRET}`, SERVICE_SECRET: SECRET },
  ],
  [
    'webhooks over plain http',
    /WEBHOOK_BASE_URL must begin with https/,
    { WEBHOOK_BASE_URL: 'http://webhooks.example.com' },
  ],
  [
    'a console over plain http',
    /CONSOLE_BASE_URL must begin with https/,
    { CONSOLE_BASE_URL: 'http://console.example.com' },
  ],
  [
    'a console on loopback',
    /CONSOLE_BASE_URL must begin with https/,
    { CONSOLE_BASE_URL: 'http://localhost:3000' },
  ],
  [
    'an origin with a path',
    /WEBHOOK_BASE_URL must be an origin/,
    { WEBHOOK_BASE_URL: 'https://webhooks.example.com/webhook' },
  ],
  [
    'an origin with a user',
    /CONSOLE_BASE_URL must be an origin/,
    { CONSOLE_BASE_URL: 'https://a:b@console.example.com' },
  ],
  ['no origin', /WEBHOOK_BASE_URL is missing/, { WEBHOOK_BASE_URL: undefined }],
  ['a mode that is none', /AUTH_MODE must be/, { AUTH_MODE: 'debug' }],
  ['local mode with a public origin', /CONSOLE_BASE_URL must be a loopback origin/, { AUTH_MODE: 'local' }],
  ['a provider over plain http', /MICROSOFT_LOGIN_URL/, { MICROSOFT_LOGIN_URL: 'http://127.0.0.1:4001' }],
  [
    'a provider without its secret',
    /MICROSOFT_CLIENT_SECRET is missing/,
    { MICROSOFT_CLIENT_SECRET: undefined },
  ],
  [
    'a date of the client secret that is none',
    /MICROSOFT_CLIENT_SECRET_EXPIRES_AT is not a date/,
    { MICROSOFT_CLIENT_SECRET_EXPIRES_AT: '2027-02-30' },
  ],
  ['a short relay secret', /MICROSOFT_WEBHOOK_SECRET is too short/, { MICROSOFT_WEBHOOK_SECRET: 'short' }],
  [
    'half of the push settings',
    /GOOGLE_PUBSUB_SERVICE_ACCOUNT is missing/,
    { GOOGLE_CLIENT_ID: 'c', GOOGLE_CLIENT_SECRET: 's', GOOGLE_PUBSUB_AUDIENCE: 'a' },
  ],
  [
    'a short session secret',
    /SESSION_SECRET is too short/,
    { SESSION_SECRET: 'short', SESSION_ISSUER: 'i', SESSION_AUDIENCE: 'a' },
  ],
  [
    'the platform keys over plain http',
    /SESSION_JWKS_URL/,
    { SESSION_JWKS_URL: 'http://keys.example.com/jwks', SESSION_ISSUER: 'i', SESSION_AUDIENCE: 'a' },
  ],
  ['the inspector as flag', /inspector/, {}, ['--inspect']],
  ['the inspector with an address', /inspector/, {}, ['--inspect-brk=0.0.0.0:9229']],
  ['the inspector in NODE_OPTIONS', /inspector/, { NODE_OPTIONS: '--inspect=0' }],
  ['heap snapshots', /inspector/, {}, ['--heapsnapshot-signal=SIGUSR2']],
  ['a port that is none', /AUTH_PORT must be a port/, { AUTH_PORT: '70000' }],
  ['an egress entry without a path', /EGRESS_ALLOW entry 1/, { EGRESS_ALLOW: 'n8n' }],
]

describe('OP-06', () => {
  test('OP-06 a safe configuration is accepted', () => {
    expect(mistakesOf({})).toEqual([])
  })

  test.each(unsafe)('OP-06 %s: refused with one sentence', (_, sentence, more, flags) => {
    const mistakes = mistakesOf(more, flags)
    expect(mistakes.filter((mistake) => sentence.test(mistake))).toHaveLength(1)
    for (const value of Object.values(more))
      if (value !== undefined && value.trim().length > 12) expect(mistakes.join('\n')).not.toContain(value)
  })

  test('OP-06 the process prints all mistakes at once, no value, and ends with 1', async () => {
    const values = {
      DATABASE_URL: 'mysql://root:hunter2hunter2@db.example/x',
      SERVICE_SECRET: 'change-me-0123456789-0123456789-0123',
      ENCRYPTION_KEY: 'not-a-key-but-something-someone-pasted',
      WEBHOOK_BASE_URL: 'http://plain.example.com',
      CONSOLE_BASE_URL: 'ftp://console.example.net',
      MICROSOFT_WEBHOOK_SECRET: 'tooshort',
    }
    const { code, stdout, stderr } = await runAuth({
      ...safe(),
      ...values,
      NODE_OPTIONS: '--report-on-signal',
    })
    expect(code).toBe(1)
    expect(stdout).toBe('')
    const lines = stderr.trimEnd().split('\n')
    for (const named of [...Object.keys(values), 'reports'])
      expect([named, lines.filter((line) => line.includes(named)).length]).toEqual([named, 1])
    for (const value of [...Object.values(values), 'hunter2', 'client secret of microsoft'])
      expect(stderr).not.toContain(value)
    expect(stderr).not.toMatch(/\bat \S+ \(|node:internal/)
  })

  test('OP-06 a running inspector is refused by the process itself', async () => {
    const { code, stderr } = await runAuth({ ...safe(), DATABASE_URL: inject('postgresUrl') }, [
      '--inspect=127.0.0.1:0',
    ])
    expect(code).toBe(1)
    expect(stderr).toMatch(/inspector/)
  })
})
