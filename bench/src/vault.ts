/**
 * `npm run bench -- vault`: how long one seal and one open take in this process, without a database: a data key for each
 * row, unwrapped at each use as the service does it. Values are of the size of real tokens. It measures and compares
 * with bare AES-256-GCM of the same bytes in the same rounds; it sets no goal.
 */
import { createCipheriv, randomBytes } from 'node:crypto'
import { cpus } from 'node:os'
import { Secret } from '@flovify/providers'
import { newId } from '../../auth/src/platform/ids.ts'
import { openChannelKeys } from '../../auth/src/vault/channel-keys.ts'
import { openKeyRing } from '../../auth/src/vault/key-ring.ts'
import { openVault } from '../../auth/src/vault/vault.ts'

const ROUNDS = 7
const ROWS = 2_000
const TOKEN_BYTES = 2_048

export async function benchVault(print: (line: string) => void) {
  const ring = openKeyRing(
    new Map([
      ['k1', randomBytes(32)],
      ['k0', randomBytes(32)],
    ]),
    'k1',
  )
  const vault = openVault(ring)
  const earlier = openVault(ringUnder(ring, 'k0'))
  const channel = openChannelKeys(ring)
  const token = new Secret(randomBytes((TOKEN_BYTES * 3) / 4).toString('base64'))
  const rows = Array.from({ length: ROWS }, (_, index) => {
    const context = {
      purpose: 'oauth_tokens',
      owner: String(index % 100),
      row: newId('con'),
      provider: 'microsoft',
    } as const
    const dataKey = vault.newDataKey(context)
    const key = vault.open(dataKey, context)
    return {
      context,
      dataKey,
      key,
      sealed: key.seal('access_token', token),
      underOther: earlier.newDataKey(context),
      ref: channel.mintRef(newId('sub')),
    }
  })
  const bareKey = randomBytes(32)
  const plain = Buffer.from(token.reveal())
  type Row = (typeof rows)[number]
  const works: Readonly<Record<string, (row: Row) => unknown>> = {
    'bare AES-256-GCM of one token': () => {
      const cipher = createCipheriv('aes-256-gcm', bareKey, randomBytes(12), { authTagLength: 16 })
      return [cipher.update(plain), cipher.final(), cipher.getAuthTag()]
    },
    'seal: unwrap the data key, seal one token': (row) =>
      vault.open(row.dataKey, row.context).seal('access_token', token),
    'open: unwrap the data key, open one token': (row) =>
      vault.open(row.dataKey, row.context).unseal('access_token', row.sealed),
    'open with the data key at hand': (row) => row.key.unseal('access_token', row.sealed),
    'make a data key': (row) => vault.newDataKey(row.context),
    'rewrap a data key': (row) => vault.rewrap(row.underOther, row.context),
    'check a ref': (row) => channel.genuineRef(row.ref),
  }
  const medians = new Map<string, number[]>(Object.keys(works).map((name) => [name, []]))
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [name, work] of Object.entries(works)) {
      const times = rows.map((row) => {
        const before = performance.now()
        work(row)
        return (performance.now() - before) * 1_000
      })
      // the first round warms up
      if (round > 0) medians.get(name)?.push(quantile(times, 0.5))
    }
    print(`round ${round} of ${ROUNDS - 1}`)
  }
  const microseconds = Object.fromEntries(
    [...medians].map(([name, times]) => [
      name,
      { median: quantile(times, 0.5), slowestRound: quantile(times, 1) },
    ]),
  )
  for (const [name, { median }] of Object.entries(microseconds))
    print(`${name.padEnd(46)}${median.toFixed(1).padStart(8)} µs`)
  return {
    machine: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}`,
    date: new Date().toISOString(),
    tokenBytes: TOKEN_BYTES,
    rows: ROWS,
    rounds: ROUNDS - 1,
    microseconds,
  }
}

/** The same keys with another primary. */
function ringUnder(ring: ReturnType<typeof openKeyRing>, primaryId: string) {
  return { has: ring.has, derive: ring.derive, primaryId }
}

function quantile(times: readonly number[], q: number): number {
  const sorted = [...times].sort((a, b) => a - b)
  return Number((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0).toFixed(1))
}
