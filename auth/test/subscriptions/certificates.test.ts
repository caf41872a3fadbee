/** Certificates of subscriptions whose pushes carry their content: made, sealed, exchanged with an overlap, dropped. */
import { createPublicKey } from 'node:crypto'
import { Secret } from '@flovify/providers'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { completeFlow } from '../../src/connections/complete.ts'
import { disconnect } from '../../src/connections/disconnect.ts'
import { accessToken } from '../../src/connections/token.ts'
import { sql } from '../../src/db/sql.ts'
import { monotonicMs } from '../../src/platform/clock.ts'
import { sweepCertificates } from '../../src/subscriptions/certificates.ts'
import { openLookup } from '../../src/subscriptions/lookup.ts'
import { reconcile } from '../../src/subscriptions/reconcile.ts'
import { subscriptionRenewals } from '../../src/subscriptions/work.ts'
import type { DueRow, WorkKind } from '../../src/work/work.ts'
import { bindingOf, type Ground, granted, openGround } from '../connections/ground.ts'

const DAY_MS = 24 * 3600_000

describe('certificates of subscriptions', () => {
  let g: Ground
  let kind: WorkKind<DueRow>
  let leases = 0
  let alice: string
  beforeAll(async () => {
    g = await openGround()
    kind = subscriptionRenewals({
      ...g.needs,
      accessToken: async (id, seconds) => {
        const read = await accessToken(g.needs, id, seconds)
        return read.kind === 'token'
          ? { ...read, expiresAt: new Date((await now()).getTime() + 3_600_000) }
          : read
      },
      channelKeys: g.channelKeys,
      lookup: g.lookup,
      random: () => 0.5,
    })
  })
  afterAll(() => g.close())
  beforeEach(async () => {
    await g.clear()
    g.google.encrypts = true
    const inADay = async () => new Date((await now()).getTime() + DAY_MS)
    g.google.createWith = async () => ({
      kind: 'created',
      providerSubscriptionId: `at-provider-${g.google.creates.length}`,
      expiresAt: await inADay(),
    })
    g.google.renewWith = async () => ({ kind: 'renewed', expiresAt: await inADay() })
    g.google.exchangeWith = async () => granted({ expiresAt: new Date(Date.now() + 365 * DAY_MS) })
  })

  const now = async () => (await g.db.one<{ now: Date }>(sql`select auth.clock() as now`))?.now ?? new Date()
  const connect = async () => {
    alice = await g.user('alice@example.com')
    const { ticket } = await g.ticketFor(alice)
    const sessionBinding = bindingOf(`session of ${alice}`)
    const outcome = await completeFlow(g.needs, { ticket, userId: alice, sessionBinding })
    if (outcome.kind !== 'connected') throw new Error(outcome.kind)
    await work()
    return outcome.connectionId
  }
  const claim = async () => {
    leases += 1
    const id = `00000000-0000-4000-9000-${String(leases).padStart(12, '0')}`
    return kind.claim(g.db, { id, seconds: 30, limit: 10 })
  }
  const work = async () => {
    const rows = await claim()
    for (const row of rows) await kind.run(row, new AbortController().signal)
    return rows.length
  }
  const goOn = (ms: number) =>
    g.db.rows(sql`
      with moved as (update auth.clock_offset set offset_ms = offset_ms + ${ms} returning offset_ms)
      select auth.ensure_days((now() + offset_ms * interval '1 ms')::date - 1, (now() + offset_ms * interval '1 ms')::date + 2) from moved`)
  const renew = async () => {
    await goOn(DAY_MS / 2)
    expect(await work()).toBe(1)
  }
  interface Row {
    id: string
    data_key: string
    private_key: string
    certificate: string
    retired: boolean
    current: boolean
  }
  const rows = () =>
    g.db.rows<Row>(sql`
      select k.id, k.data_key, k.private_key, k.certificate, k.retired_at is not null as retired, s.certificate_id = k.id as current
        from auth.subscription_certificates k join auth.subscriptions s on s.id = k.subscription_id order by k.created_at, k.id`)
  const subscription = async () => {
    const row = await g.db.one<{ id: string; state: string; certificate_id: string | null }>(
      sql`select id, state, certificate_id from auth.subscriptions where state <> 'stopped'`,
    )
    if (row === undefined) throw new Error('no subscription')
    return row
  }
  /** As another process, or this one a minute later. */
  const freshLookup = () =>
    openLookup({ db: g.db, channelKeys: g.channelKeys, vault: g.vault, log: g.log, monotonicMs }).of('google')
  const opens = async (certificateId: string) => {
    const { id } = await subscription()
    const reading = await freshLookup().privateKey(id, certificateId)
    if (reading.kind !== 'key') return reading.kind
    const [row] = (await rows()).filter((one) => one.id === certificateId)
    return createPublicKey(reading.key).export({ type: 'spki', format: 'der' }).toString('base64') ===
      row?.certificate
      ? 'key'
      : 'another key'
  }
  const age = (days: number) =>
    g.db.rows(
      sql`update auth.subscription_certificates set created_at = created_at - make_interval(days => ${days})`,
    )

  test('a created one has a certificate of its own, whose private key is sealed in the row that the call was made after', async () => {
    let during: readonly Row[] = []
    const create = g.google.createWith
    g.google.createWith = async (request) => {
      during = await rows()
      return create(request)
    }
    await connect()
    expect(during).toMatchObject([{ current: null }])
    const [row, ...others] = await rows()
    expect(others).toEqual([])
    expect(row).toMatchObject({ current: true, retired: false })
    expect(g.google.creates[0]?.encryption).toEqual({ certificateId: row?.id, certificate: row?.certificate })
    expect(await opens(row?.id ?? '')).toBe('key')
    // PKCS #8 of RSA begins so in base64; sealed text never does
    expect(row?.private_key).toMatch(/^atv1\./)
    expect(row?.private_key).not.toContain('MIIE')
  })

  test('without the wish for content nothing of it is there', async () => {
    g.google.encrypts = false
    await connect()
    expect(g.google.creates[0]).not.toHaveProperty('encryption')
    await renew()
    expect(g.google.renewals[0]).not.toHaveProperty('encryption')
    expect(await rows()).toEqual([])
  })

  test('TV-02 a private key opens in its own row only', async () => {
    await connect()
    const [row] = await rows()
    const id = row?.id ?? ''
    for (const change of [
      sql`owner_id = 'another'`,
      sql`provider = 'another'`,
      sql`id = 'crt_another'`,
      sql`private_key = data_key`,
    ]) {
      await g.db.rows(sql`update auth.subscription_certificates set ${change}`)
      const [moved] = await rows()
      expect(await opens(moved?.id ?? '')).toBe('unusable')
      await g.db.rows(sql`
        update auth.subscription_certificates set id = ${id}, owner_id = ${alice}, provider = 'google', private_key = ${row?.private_key}`)
    }
    expect(await opens(id)).toBe('key')
    expect(g.lines.filter((line) => line.includes('cannot be opened'))).toHaveLength(4)
    expect(g.lines.join('\n')).not.toContain(row?.private_key)
  })

  test('a certificate of another subscription is unknown', async () => {
    await connect()
    const [row] = await rows()
    expect(await freshLookup().privateKey('sub_another', row?.id ?? '')).toEqual({ kind: 'unknown' })
    expect(await opens('crt_another')).toBe('unknown')
  })

  test('renewals keep it for a week, then bring another one; the old one opens on for three days and is dropped', async () => {
    await connect()
    const [first] = await rows()
    await renew()
    expect(g.google.renewals[0]?.encryption?.certificateId).toBe(first?.id)
    expect(await rows()).toHaveLength(1)
    await age(7)
    await renew()
    const [old, next] = await rows()
    expect(next).toMatchObject({ current: true, retired: false })
    expect(old).toMatchObject({ id: first?.id, current: false, retired: true })
    expect(g.google.renewals[1]?.encryption).toEqual({
      certificateId: next?.id,
      certificate: next?.certificate,
    })
    expect(next?.certificate).not.toBe(old?.certificate)
    await goOn(3 * DAY_MS - 60_000)
    await sweepCertificates(g.db)
    expect([await opens(old?.id ?? ''), await opens(next?.id ?? '')]).toEqual(['key', 'key'])
    await goOn(120_000)
    await sweepCertificates(g.db)
    expect([await opens(old?.id ?? ''), await opens(next?.id ?? '')]).toEqual(['unknown', 'key'])
    expect(await rows()).toHaveLength(1)
  })

  test('a renewal whose answer was lost: both open, and the next one offers the same again', async () => {
    await connect()
    const [first] = await rows()
    await age(8)
    const answer = g.google.renewWith
    g.google.renewWith = async () => ({ kind: 'failed', failure: { class: 'transient', code: 'timeout' } })
    await renew()
    const [old, offered] = await rows()
    expect([old?.current, offered?.current]).toEqual([true, false])
    expect([await opens(first?.id ?? ''), await opens(offered?.id ?? '')]).toEqual(['key', 'key'])
    g.google.renewWith = answer
    await goOn(3600_000)
    await work()
    expect(g.google.renewals.map(({ encryption }) => encryption?.certificateId)).toEqual([
      offered?.id,
      offered?.id,
    ])
    expect((await subscription()).certificate_id).toBe(offered?.id)
    expect(await rows()).toHaveLength(2)
  })

  test('a create that failed offers the same one again', async () => {
    const answer = g.google.createWith
    g.google.createWith = async () => ({ kind: 'failed', failure: { class: 'transient', code: 'timeout' } })
    await connect()
    g.google.createWith = answer
    await goOn(3600_000)
    await work()
    const [row, ...others] = await rows()
    expect(others).toEqual([])
    expect(g.google.creates.map(({ encryption }) => encryption?.certificateId)).toEqual([row?.id, row?.id])
    expect(row?.current).toBe(true)
  })

  test('who loses the lease while it is made writes none and makes no call', async () => {
    const lose = async () => {
      await g.db.rows(
        sql`update auth.subscription_renewals set lease_id = '00000000-0000-4000-9000-999999999999'`,
      )
    }
    g.google.whileMaking = lose
    await connect()
    expect(await rows()).toEqual([])
    expect(g.google.creates).toEqual([])
    g.google.whileMaking = async () => {}
    await goOn(3600_000)
    await work()
    await age(8)
    g.google.whileMaking = lose
    await renew()
    expect(await rows()).toHaveLength(1)
    expect(g.google.renewals).toEqual([])
  })

  test('switched on, a live one is made anew with content at once; switched off, without', async () => {
    g.google.encrypts = false
    await connect()
    g.google.encrypts = true
    await reconcile(g.needs)
    expect(await work()).toBe(1)
    expect(g.google.stopped).toHaveLength(1)
    expect(await work()).toBe(1)
    expect(g.google.creates.map(({ encryption }) => encryption !== undefined)).toEqual([false, true])
    expect(await subscription()).toMatchObject({ state: 'active', certificate_id: expect.any(String) })
    const [row] = await rows()
    // reconciling again finds nothing to do
    await reconcile(g.needs)
    expect(await work()).toBe(0)
    g.google.encrypts = false
    await reconcile(g.needs)
    await work()
    await work()
    expect(g.google.creates.at(-1)).not.toHaveProperty('encryption')
    expect(await subscription()).toMatchObject({ state: 'active', certificate_id: null })
    // what was encrypted to it may still be on its way
    expect(await rows()).toMatchObject([{ id: row?.id, retired: true }])
  })

  test('OA-13 a disconnect drops them with what they open', async () => {
    const connectionId = await connect()
    const { id } = await subscription()
    const [row] = await rows()
    await disconnect(g.needs, connectionId, { userId: alice, role: 'user' })
    expect(await rows()).toEqual([])
    expect(await freshLookup().privateKey(id, row?.id ?? '')).toEqual({ kind: 'unknown' })
  })

  test('TV-05 a change of keys moves them like every sealed row', async () => {
    await connect()
    const [row] = await rows()
    const context = {
      purpose: 'subscription_certificates',
      owner: alice,
      row: row?.id ?? '',
      provider: 'google',
    } as const
    const moved = g.vault.rewrap(row?.data_key ?? '', context)
    expect(moved).not.toBe(row?.data_key)
    await g.db.rows(sql`update auth.subscription_certificates set data_key = ${moved}`)
    expect(await opens(row?.id ?? '')).toBe('key')
    expect(g.vault.open(moved, context).unseal('private_key', row?.private_key ?? '')).toBeInstanceOf(Secret)
  })
})
