/** What is found by asking: each calendar of a list. */
import type { WantedSubscription } from '@flovify/providers'
import { describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { reconcile } from '../../src/subscriptions/reconcile.ts'
import { keeping, LIST } from './keeping.ts'

describe('WI-16 what is found by asking', () => {
  const k = keeping()
  const { pass, work, subscriptions, stopped, notified, changed } = k

  const one = (name: string): WantedSubscription => ({ kind: `mail:${name}`, resource: `of/${name}` })
  const find = (...names: string[]) => {
    k.g.google.discoverWith = async ({ resource }) => ({
      kind: 'found',
      wanted: resource === LIST.resource ? names.map(one) : [],
    })
  }
  const kinds = async () => (await subscriptions()).map(({ kind, state }) => `${kind} ${state}`)

  test('is watched, and ends when it is not found any more', async () => {
    find('a', 'b')
    await work('checks')
    await work('renewals')
    expect(await kinds()).toEqual(['mail active', 'mail:a active', 'mail:b active'])
    find('b', 'c')
    await pass(13)
    changed('c2')
    await notified()
    await work('checks')
    await work('renewals')
    expect(await kinds()).toEqual(['mail active', 'mail:a stopped', 'mail:b active', 'mail:c active'])
    await work('stops')
    expect(stopped()).toEqual(['at-provider-2'])
  })

  test('what could not be asked for is asked for again, although nothing changes any more', async () => {
    k.g.google.discoverWith = async () => ({
      kind: 'failed',
      failure: { class: 'transient', code: 'http_503' },
    })
    await work('checks')
    expect(await kinds()).toEqual(['mail active'])
    find('a')
    await pass(2)
    expect(await work('checks')).toBe(1)
    await work('renewals')
    expect(await kinds()).toEqual(['mail active', 'mail:a active'])
  })

  test('where asking is refused for good, the check goes on without it', async () => {
    k.g.google.discoverWith = async () => ({ kind: 'failed', failure: { class: 'needs_user', code: 'x' } })
    await work('checks')
    expect(await k.g.db.rows(sql`select cursor, attempts from auth.subscription_checks`)).toEqual([
      { cursor: 'c1', attempts: 0 },
    ])
  })

  test('one that failed for good is wanted again by the reconciler: what stood in its way may be gone', async () => {
    find('a')
    await work('checks')
    await k.g.db.rows(sql`update auth.oauth_tokens set scope = 'openid mail.read'`)
    const create = k.g.google.createWith
    k.g.google.createWith = async () => ({
      kind: 'failed',
      failure: { class: 'our_configuration', code: 'x' },
    })
    await work('renewals')
    expect(await kinds()).toEqual(['mail active', 'mail:a failed'])
    k.g.google.createWith = create
    await reconcile(k.g.needs)
    await work('renewals')
    expect(await kinds()).toEqual(['mail active', 'mail:a active'])
  })

  test('goes with what it was found by, and stays when everything is reconciled', async () => {
    find('a')
    await work('checks')
    await work('renewals')
    const made = k.g.google.creates.length
    await k.g.db.rows(sql`update auth.oauth_tokens set scope = 'openid mail.read'`)
    await reconcile(k.g.needs)
    await work('renewals')
    expect(await kinds()).toEqual(['mail active', 'mail:a active'])
    expect(k.g.google.creates).toHaveLength(made)
    await k.g.db.rows(sql`update auth.oauth_tokens set scope = 'openid'`)
    await reconcile(k.g.needs)
    expect(await kinds()).toEqual(['mail stopped', 'mail:a stopped'])
  })
})
