import type { Lookup } from '@flovify/providers'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Db } from '../../src/db/sql.ts'
import { sql } from '../../src/db/sql.ts'
import { newId, sha256 } from '../../src/platform/ids.ts'
import { openLookup, type SubscriptionLookup } from '../../src/subscriptions/lookup.ts'
import { LruCache } from '../../src/subscriptions/lru-cache.ts'
import { openTouch } from '../../src/subscriptions/touch.ts'
import { type Ground, openGround } from '../connections/ground.ts'

describe('what a provider may look up', () => {
  let g: Ground
  let lookup: SubscriptionLookup
  let google: Lookup
  let queries = 0
  let now = 0
  let away = false
  const db: Db = {
    rows: (query) => counted(() => g.db.rows(query)),
    one: (query) => counted(() => g.db.one(query)),
  }
  const counted = <T>(run: () => Promise<T>) => {
    queries += 1
    return away ? Promise.reject(new Error('away')) : run()
  }

  beforeAll(async () => {
    g = await openGround()
  })
  afterAll(() => g.close())
  beforeEach(async () => {
    await g.clear()
    queries = 0
    away = false
    lookup = openLookup({
      db,
      channelKeys: g.channelKeys,
      vault: g.vault,
      log: g.log,
      monotonicMs: () => now,
    })
    google = lookup.of('google')
  })

  const add = async (state = 'active', more: { provider?: string; status?: string } = {}) => {
    const connectionId = newId('con')
    const id = newId('sub')
    const secret = g.channelKeys.mintChannelSecret().reveal()
    const provider = more.provider ?? 'google'
    await g.db.rows(sql`
      insert into auth.oauth_tokens (id, owner_id, provider, account_key, account_label, account_address, tenant, status)
      values (${connectionId}, '1', ${provider}, ${connectionId}, 'label', 'bob@example.com', 'tenant', ${more.status ?? 'active'})`)
    await g.db.rows(sql`
      insert into auth.subscriptions (id, connection_id, provider, kind, resource, state, provider_subscription_id, channel_secret_hash)
      values (${id}, ${connectionId}, ${provider}, 'mail', 'gmail', ${state},
              ${state === 'active' ? 'theirs' : null}, ${sha256(secret)})`)
    return { connectionId, id, secret }
  }

  test('WI-01 a forged ref or channel secret dies without a query', async () => {
    const { id, secret } = await add()
    const ref = g.channelKeys.mintRef(newId('sub'))
    const flip = (text: string) => `${text.slice(0, -2)}${text.at(-2) === 'A' ? 'B' : 'A'}${text.slice(-1)}`
    expect(google.genuineRef(ref)).toBe(ref.split('.')[0])
    for (const forged of [flip(ref), id, '', `${id}.k0.${'A'.repeat(43)}`, secret])
      expect(google.genuineRef(forged)).toBeUndefined()
    for (const forged of [flip(secret), '', 'x', ref, `${secret} `, 'a'.repeat(10_000)])
      expect(await google.byChannelSecret(forged)).toBeUndefined()
    expect(queries).toBe(0)
  })

  test('a genuine secret finds its one subscription, of this provider only', async () => {
    const { connectionId, id, secret } = await add()
    await add()
    const known = {
      id,
      connectionId,
      resource: 'gmail',
      providerSubscriptionId: 'theirs',
      accountKey: connectionId,
      tenant: 'tenant',
    }
    expect(await google.byChannelSecret(secret)).toEqual(known)
    expect(await lookup.of('microsoft').byChannelSecret(secret)).toBeUndefined()
    const never = g.channelKeys.mintChannelSecret().reveal()
    expect(await google.byChannelSecret(never)).toBeUndefined()
  })

  test('one that is stopped or failed, or of a revoked connection, is not known; one still wanted is', async () => {
    expect(await google.byChannelSecret((await add('stopped')).secret)).toBeUndefined()
    expect(await google.byChannelSecret((await add('failed')).secret)).toBeUndefined()
    expect(await google.byChannelSecret((await add('active', { status: 'revoked' })).secret)).toBeUndefined()
    expect(await google.byChannelSecret((await add('wanted')).secret)).toMatchObject({
      providerSubscriptionId: undefined,
    })
  })

  test('an address finds every subscribed connection of this provider', async () => {
    const first = await add()
    const second = await add('wanted')
    await add('stopped')
    await add('active', { provider: 'microsoft' })
    const found = await google.byAddress('bob@example.com', 'gmail')
    expect(found.map(({ subscriptionId }) => subscriptionId).sort()).toEqual([first.id, second.id].sort())
    expect(await google.byAddress('carol@example.com', 'gmail')).toEqual([])
    // what the account has besides is not the mailbox
    expect(await google.byAddress('bob@example.com', 'drive/v3/changes')).toEqual([])
  })

  test('what is known is kept for seconds, what is unknown not at all: it would be acknowledged', async () => {
    const { secret } = await add()
    const never = g.channelKeys.mintChannelSecret().reveal()
    const ask = async () => {
      queries = 0
      await google.byChannelSecret(secret)
      await google.byChannelSecret(never)
      await google.byAddress('bob@example.com', 'gmail')
      await google.byAddress('carol@example.com', 'gmail')
      return queries
    }
    expect(await ask()).toBe(4)
    expect(await ask()).toBe(2)
    now += 2_001
    expect(await ask()).toBe(3)
    now += 10_001
    expect(await ask()).toBe(4)
  })

  test('a mailbox that another process has just connected is found at once', async () => {
    expect(await google.byAddress('bob@example.com', 'gmail')).toEqual([])
    const { id } = await add()
    expect(await google.byAddress('bob@example.com', 'gmail')).toMatchObject([{ subscriptionId: id }])
  })

  test('a second connection of the same mailbox, made here, is found at once beside the first', async () => {
    const first = await add()
    expect(await google.byAddress('bob@example.com', 'gmail')).toHaveLength(1)
    const second = await add()
    lookup.forget(second.connectionId)
    expect(
      (await google.byAddress('bob@example.com', 'gmail')).map(({ connectionId }) => connectionId).sort(),
    ).toEqual([first.connectionId, second.connectionId].sort())
  })

  test('many who ask at once ask the database once', async () => {
    const { secret } = await add()
    await Promise.all(Array.from({ length: 50 }, () => google.byChannelSecret(secret)))
    expect(queries).toBe(1)
  })

  test('a change of our own is seen at once', async () => {
    const { connectionId, secret } = await add()
    expect(await google.byChannelSecret(secret)).toBeDefined()
    await g.db.rows(sql`update auth.subscriptions set state = 'stopped', channel_secret_hash = null`)
    expect(await google.byChannelSecret(secret)).toBeDefined()
    lookup.forget(connectionId)
    expect(await google.byChannelSecret(secret)).toBeUndefined()
    expect(await google.byAddress('bob@example.com', 'gmail')).toEqual([])
  })

  test('a database that is away is an error, not an unknown secret, and is not remembered', async () => {
    const { secret } = await add()
    away = true
    await expect(google.byChannelSecret(secret)).rejects.toThrow('away')
    away = false
    expect(await google.byChannelSecret(secret)).toBeDefined()
  })

  test('the cache is bounded: the least recently read goes first', async () => {
    const cache = new LruCache<number>(3, () => 0)
    let loads = 0
    const read = (key: string) =>
      cache.read(key, async () => {
        loads += 1
        return { value: loads, keepMs: 1_000 }
      })
    for (const key of ['a', 'b', 'c', 'a', 'd']) await read(key)
    expect(cache.size).toBe(3)
    expect(loads).toBe(4)
    await read('a')
    expect(loads).toBe(4)
    await read('b')
    expect(loads).toBe(5)
    for (let i = 0; i < 100; i += 1) await read(`k${i}`)
    expect(cache.size).toBe(3)
  })

  test('what may not be kept takes nobody’s place', async () => {
    const cache = new LruCache<string>(2, () => 0)
    let loads = 0
    const read = (key: string, keepMs: number) =>
      cache.read(key, async () => {
        loads += 1
        return { value: key, keepMs }
      })
    for (const key of ['a', 'b']) await read(key, 1_000)
    for (let i = 0; i < 10; i += 1) await read(`unknown ${i}`, 0)
    for (const key of ['a', 'b']) await read(key, 1_000)
    expect(loads).toBe(12)
  })

  test('what was being loaded during a change is not kept', async () => {
    const cache = new LruCache<string>(3, () => 0)
    let answer = (_value: { value: string; keepMs: number }) => {}
    const early = cache.read('k', () => new Promise((resolve) => (answer = resolve)))
    cache.dropWhere(() => true)
    answer({ value: 'before', keepMs: 1_000 })
    expect(await early).toBe('before')
    expect(await cache.read('k', async () => ({ value: 'after', keepMs: 1_000 }))).toBe('after')
  })

  test('the time of the last notification is noted at most once a minute, and never moves back', async () => {
    const { id } = await add()
    const touch = openTouch({ db, log: g.log })
    const noted = async () =>
      (
        await g.db.one<{ at: Date | null }>(
          sql`select last_notification_at at from auth.subscriptions where id = ${id}`,
        )
      )?.at
    const at = new Date('2026-11-23T12:00:00Z')
    const later = (seconds: number) => new Date(at.getTime() + seconds * 1000)
    await touch([id, id, 'sub_unknown'], at)
    expect(await noted()).toEqual(at)
    await touch([id], later(30))
    expect(queries).toBe(1)
    now += 60_001
    await touch([id], later(61))
    expect(await noted()).toEqual(later(61))
    // another process, with a memory of its own
    const other = openTouch({ db, log: g.log })
    await other([id], later(70))
    await other([], later(300))
    expect(await noted()).toEqual(later(70))
    now += 60_001
    await other([id], at)
    expect(await noted()).toEqual(later(70))
    away = true
    now += 60_001
    await expect(touch([id], later(300))).resolves.toBeUndefined()
    away = false
    await touch([id], later(300))
    expect(await noted()).toEqual(later(300))
  })

  test('WI-16 what is notified within the minute is noted when it is over: a check must find the newest time', async () => {
    const { id } = await add()
    const { id: other } = await add()
    const touch = openTouch({ db, log: g.log }, 50)
    const noted = async (of: string) =>
      (
        await g.db.one<{ at: Date | null }>(
          sql`select last_notification_at at from auth.subscriptions where id = ${of}`,
        )
      )?.at?.toISOString()
    await touch([id, other], new Date('2026-11-23T12:00:00Z'))
    await touch([id], new Date('2026-11-23T12:00:00.020Z'))
    await touch([id], new Date('2026-11-23T12:00:00.040Z'))
    await expect.poll(() => noted(id)).toBe('2026-11-23T12:00:00.040Z')
    expect(await noted(other)).toBe('2026-11-23T12:00:00.000Z')
  })
})
