/**
 * `npm start`: the whole system on this machine, with what a person needs to know on the screen and everything else in
 * the log files. Ends in order on Ctrl-C. Its `main` is called by launch.cjs, which has checked Node's version.
 */

import { join, relative } from 'node:path'
import { dataDirectory, portsFrom } from './settings.ts'
import { type Stack, startStack } from './stack.ts'
import { StartError } from './start-error.ts'

/** Who the printed link signs in: the first administrator of this machine. */
const ADMIN = 'admin@example.com'

const HELP = `Starts Flovify Connect on this machine: PostgreSQL, Auth, the console, a receiver, and simulators
for the providers that have no client id.

  npm start

Settings come from the environment:
  DATABASE_URL                a PostgreSQL of your own instead of the embedded one
  DATA_DIR                    where data, secrets and logs are kept (.data)
  BFF_PORT                    the console (3000)
  AUTH_PORT                   callbacks and events of the providers (8000)
  AUTH_INTERNAL_PORT          the internal API (8001)
  RECEIVER_PORT               the bundled receiver (8010)
  MICROSOFT_SIMULATOR_PORT    simulated Microsoft (8020)
  GOOGLE_SIMULATOR_PORT       simulated Google (8021)
  SIMULATORS_CONTROL_PORT     the simulators' control API (8022)
  MICROSOFT_CLIENT_ID, GOOGLE_CLIENT_ID and the other settings of the README: a provider with a client id is real

npm run demo plays one connection and one message per provider without a browser.`

export async function main(args: readonly string[]): Promise<void> {
  if (args.length > 0) {
    const known = args.every((arg) => arg === '--help' || arg === '-h')
    console.log(known ? HELP : `npm start takes only --help, not ${args.join(' ')}.\n\n${HELP}`)
    process.exitCode = known ? 0 : 1
    return
  }
  const began = Date.now()
  const stopped = onStopSignal()
  try {
    const starting = startStack({
      dataDir: dataDirectory(process.env),
      ports: portsFrom(process.env),
      environment: process.env,
      onProgress: (line) => console.log(line),
    })
    const stack = await starting
    try {
      if (!stopped.now) await showStack(stack, Date.now() - began)
      const failure = await Promise.race([stopped.signal, stack.failed])
      if (failure === undefined) console.log('\nStopping: finishing what is under way …')
      else complain(failure)
    } finally {
      await stack.stop()
    }
    if (process.exitCode === undefined) console.log('Stopped. The data is kept.')
  } catch (error) {
    // Ctrl-C also reaches what we run to its end, such as the console's build.
    if (!stopped.now) complain(error)
  }
  process.exit(process.exitCode ?? 0)
}

async function showStack(stack: Stack, tookMs: number): Promise<void> {
  const here = (path: string) => {
    const short = relative(process.cwd(), path)
    return short === '' || short.startsWith('..') ? path : short
  }
  const simulated = [
    ['Microsoft', stack.urls.microsoft],
    ['Google', stack.urls.google],
  ].filter(([, url]) => url !== undefined)
  const lines = [
    '',
    `Flovify Connect is ready (${(tookMs / 1000).toFixed(1)} s).`,
    '',
    `  Sign in        ${await stack.signinUrl(ADMIN, 'admin')}`,
    '                 (works once, for ten minutes; the next start prints a new one)',
    `  Receiver       ${stack.urls.receiver}  shows every delivery that it verified`,
    ...simulated.map(([name, url]) => `  Simulated      ${name} at ${url}`),
    ...(simulated.length === 0
      ? ['  Simulated      nothing: both providers are configured']
      : ['  Send a message', `    ${sendCommand(stack, here(join(stack.dataDir, 'control-token')))}`]),
    `  Data, secrets  ${here(stack.dataDir)}`,
    `  Logs           ${here(stack.logDir)}`,
    '',
    'Stop with Ctrl-C.',
  ]
  console.log(lines.join('\n'))
}

/** For a shell: a message arrives in an account of the first simulated provider. */
function sendCommand(stack: Stack, tokenFile: string): string {
  const provider = stack.simulated[0]
  const account = provider === 'microsoft' ? 'adele@contoso.test' : 'gita@flow.test'
  const message = JSON.stringify({ provider, account, subject: 'Hello' })
  return `curl -H "authorization: Bearer $(cat ${tokenFile})" --json '${message}' ${stack.urls.control}/message`
}

/** People get the sentence; a defect of ours keeps its stack, because nobody could find it otherwise. */
function complain(error: unknown): void {
  process.exitCode = 1
  if (error instanceof StartError) console.error(`\n${error.message}`)
  else console.error('\nThis is a defect of Flovify Connect, please report it:', error)
}

/** The first signal stops in order. It is kept from ending the process, also while things still start. */
function onStopSignal(): { readonly now: boolean; readonly signal: Promise<undefined> } {
  const asked = Promise.withResolvers<undefined>()
  const state = { now: false, signal: asked.promise }
  let askedAt = 0
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => {
      // The terminal and npm both pass on one Ctrl-C: only a later one is from an impatient person.
      if (state.now && Date.now() - askedAt > 1_000)
        console.error('Still stopping; everything ends in 40 s at most.')
      if (!state.now) askedAt = Date.now()
      state.now = true
      asked.resolve(undefined)
    })
  return state
}
