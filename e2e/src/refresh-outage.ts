/**
 * RE-08, F13: the provider is down for two hours of simulated time while many connections are due. What must hold: no
 * connection needs its user afterwards, a token is served as long as it is valid and refused with `Retry-After` when it is
 * over, the provider is spared meanwhile, and within five minutes of its return refreshing goes on by itself, no faster
 * than its limit, until all are fresh.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { FaultResult, Print } from './faults.ts'
import { countAt, onOwnDatabase } from './refresh-storm.ts'
import { openRefreshWorld, type RefreshWorld } from './refresh-world.ts'

export interface RefreshOutage {
  readonly databaseUrl: string
  readonly directory: string
  readonly processes: number
  readonly connections: number
  readonly perSecond: number
  /** Simulated seconds between two looks. */
  readonly stepSeconds: number
  readonly provider: 'google' | 'microsoft'
  readonly how: '503' | 'refuse'
}

const OUTAGE_SECONDS = 2 * 3_600
/** Of the tokens when the provider goes down: half of the hour that they were made for. */
const VALID_SECONDS = 1_800
const RESUMES_WITHIN_SECONDS = 300

/** The long form. */
export const outageAtSize = (print: Print): Promise<FaultResult> =>
  onOwnDatabase((databaseUrl, directory) =>
    refreshOutage(
      {
        databaseUrl,
        directory,
        processes: 3,
        connections: 10_000,
        perSecond: 50,
        stepSeconds: 30,
        provider: 'google',
        how: '503',
      },
      print,
    ),
  )

export async function refreshOutage(outage: RefreshOutage, print: Print): Promise<FaultResult> {
  const problems: string[] = []
  const expect = (held: boolean, sentence: string) => {
    if (!held) problems.push(sentence)
    print(`${held ? 'ok' : 'PROBLEM'}: ${sentence}`)
  }
  const { provider } = outage
  const world = await openRefreshWorld(outage.databaseUrl, outage.directory, outage.processes)
  try {
    await world.start(0)
    await world.db.query('update auth.refresh_pace set per_second = $1', [outage.perSecond])
    await world.control('/faults', { provider, down: outage.how })
    const ids = await world.seed({
      provider,
      count: outage.connections,
      validSeconds: VALID_SECONDS,
      due: true,
    })
    await Promise.all(Array.from({ length: outage.processes - 1 }, (_, i) => world.start(i + 1)))
    print(`${ids.length} connections are due and ${provider} is down`)

    const reads = { served: 0, refused: 0, wrong: 0 }
    let passed = 0
    for (let step = 0; passed < OUTAGE_SECONDS; step += 1) {
      await look(world, ids, step, reads)
      await sleep(50)
      await world.advance(outage.stepSeconds)
      passed += outage.stepSeconds
      if (passed % 1_800 === 0) print(`${passed / 60} simulated minutes`)
    }
    const tried = await attempts(world, provider)
    const ended = await statuses(world)
    expect(
      ended.active === outage.connections,
      `after two hours all connections are as they were: ${JSON.stringify(ended)}`,
    )
    const told = Number((await world.db.query('select count(*) n from auth.events')).rows[0]?.n)
    expect(told === 0, `${told} events told somebody to act`)
    expect(reads.wrong === 0, `${reads.wrong} reads were answered wrongly`)
    expect(reads.served > 0 && reads.refused > 0, `${reads.served} reads served, ${reads.refused} refused`)
    // five failures of each of the batches under way, and then a probe a minute
    const most = 2 * (OUTAGE_SECONDS / 60) + 8 * outage.processes + 20
    expect(tried <= most, `the provider was tried ${tried} times, at most ${most}`)

    await world.control('/reset', {})
    let resumed = 0
    while (resumed <= RESUMES_WITHIN_SECONDS && (await countAt(world, 2)) === 0) {
      await world.advance(5)
      resumed += 5
      await sleep(300)
    }
    expect(
      resumed <= RESUMES_WITHIN_SECONDS,
      `refreshing went on ${resumed} simulated seconds after the return`,
    )
    const begun = Date.now()
    const patienceMs = (outage.connections / (outage.perSecond / 2)) * 1_000 + 30_000
    while ((await countAt(world, 2)) < outage.connections && Date.now() - begun < patienceMs) {
      await sleep(250)
      // rows that were tried in the outage wait for up to five minutes of their own
      if ((await waiting(world)) > 0 && (await due(world)) === 0) await world.advance(10)
    }
    const recovered = await countAt(world, 2)
    const seconds = (Date.now() - begun) / 1_000
    const asked = await world.asked(provider)
    expect(recovered === outage.connections, `${recovered} of ${outage.connections} have new tokens`)
    expect(
      asked.requests.length === outage.connections,
      `${asked.requests.length} requests after the return: none twice`,
    )
    expect(
      asked.peakPerSecond <= outage.perSecond,
      `at most ${asked.peakPerSecond} requests within any second, of ${outage.perSecond} allowed`,
    )
    const after = await statuses(world)
    expect(after.active === outage.connections, `all connections work: ${JSON.stringify(after)}`)
    return {
      problems,
      figures: {
        processes: outage.processes,
        connections: outage.connections,
        simulatedOutageSeconds: OUTAGE_SECONDS,
        triedWhileDown: tried,
        readsServed: reads.served,
        readsRefused: reads.refused,
        resumedAfterSimulatedSeconds: resumed,
        recoverySeconds: Number(seconds.toFixed(1)),
        limitPerSecond: outage.perSecond,
        peakPerSecondInRecovery: asked.peakPerSecond,
        reauthRequired: outage.connections - (after.active ?? 0),
      },
    }
  } finally {
    await world.close()
  }
}

/** One read: right is a token that has not expired, or 503 with `Retry-After` when it has. */
async function look(
  world: RefreshWorld,
  ids: readonly string[],
  step: number,
  reads: { served: number; refused: number; wrong: number },
): Promise<void> {
  const id = ids[(step * 7_919) % ids.length] ?? ''
  const valid = (
    await world.db.query<{ seconds: number }>(
      'select extract(epoch from expires_at - auth.clock())::float8 seconds from auth.oauth_tokens where id = $1',
      [id],
    )
  ).rows[0]
  // more than a token in the middle of its life has: a provider that is up would be asked
  const answer = await world.read(step % world.origins.length, id, 3_000)
  const left = valid?.seconds ?? 0
  if (answer.status === 200) reads.served += 1
  else reads.refused += 1
  // a second of the run may pass between the two questions
  const right = left > 2 ? 200 : left < 0 ? 503 : answer.status
  if (answer.status !== right || (right === 503 && !(Number(answer.headers.get('retry-after')) >= 1)))
    reads.wrong += 1
  await answer.body?.cancel()
}

const statuses = async (world: RefreshWorld): Promise<Record<string, number>> =>
  Object.fromEntries(
    (
      await world.db.query<{ status: string; n: string }>(
        'select status, count(*) n from auth.oauth_tokens group by 1',
      )
    ).rows.map(({ status, n }) => [status, Number(n)]),
  )

/** By our own metrics: a provider that refuses connections has no journal of them. */
async function attempts(world: RefreshWorld, provider: string): Promise<number> {
  const pages = await Promise.all(
    world.origins.map(async (origin) => (await fetch(`${origin}/metrics`)).text()),
  )
  const pattern = new RegExp(
    `^flovify_token_refreshes_total\\{provider="${provider}",outcome="failed"\\} (\\d+)`,
    'm',
  )
  return pages.reduce((sum, page) => sum + Number(pattern.exec(page)?.[1] ?? 0), 0)
}

const due = async (world: RefreshWorld): Promise<number> =>
  Number(
    (await world.db.query('select count(*) n from auth.refreshes where due_at <= auth.clock()')).rows[0]?.n,
  )

const waiting = async (world: RefreshWorld): Promise<number> =>
  Number(
    (
      await world.db.query(
        'select count(*) n from auth.refreshes where attempts > 0 and due_at > auth.clock() and lease_until is null',
      )
    ).rows[0]?.n,
  )
