/** A running system with one seeded subscription, for fault tests: real processes, a receiver that keeps everything. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Stack, startStack } from '../../../local/src/stack.ts'
import {
  type Balance,
  type Burst,
  balance,
  readStored,
  type SenderLedger,
  sendBurst,
} from '../../src/ledgers.ts'
import { type Seeded, seedSubscription } from '../../src/seed.ts'

export interface FaultWorld {
  readonly stack: Stack
  readonly seeded: Seeded
  burst(from: number, count: number): Burst
  balanceOf(ledger: SenderLedger): Promise<Balance>
  close(): Promise<void>
}

export async function openFaultWorld(): Promise<FaultWorld> {
  const directory = await mkdtemp(join(tmpdir(), 'flovify-faults-'))
  const close = async () => {
    await stack?.stop()
    await rm(directory, { recursive: true, force: true })
  }
  let stack: Stack | undefined
  try {
    const started = await startStack({
      dataDir: join(directory, 'data'),
      environment: {},
      receiver: { keep: 100_000 },
    })
    stack = started
    const seeded = await seedSubscription(started.database.url, started.secrets.encryptionKey)
    return {
      stack: started,
      seeded,
      burst: (from, count) =>
        sendBurst({
          url: `${started.urls.webhooks}${seeded.path}`,
          from,
          count,
          concurrency: 32,
          body: seeded.notification,
          retryMs: 100,
          patienceMs: 60_000,
        }),
      balanceOf: async (ledger) =>
        balance(
          ledger,
          seeded.notification,
          await readStored(started.database.url, seeded.connectionId),
          started.receiver.received(),
        ),
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}
