/** What a person switches off, on, or renews now; and how what is not well is counted. */
import { describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { chooseSubscription, renewNow } from '../../src/subscriptions/choices.ts'
import { countUnwell } from '../../src/subscriptions/health-store.ts'
import { reconcile } from '../../src/subscriptions/reconcile.ts'
import { keeping } from './keeping.ts'

describe('WI-16 a choice', () => {
  const k = keeping()
  const { pass, work, subscriptions, only, stopped, viewer } = k

  test('off: stopped here and there, and not wanted again by a reconnect or the reconciler; on: made anew', async () => {
    await k.g.db.rows(sql`update auth.oauth_tokens set scope = 'openid mail.read'`)
    const { id } = await only()
    expect(await chooseSubscription(k.g.needs, viewer(), id, { enabled: false })).toBe('ok')
    expect(await only()).toMatchObject({ state: 'stopped' })
    await work('stops')
    expect(stopped()).toEqual(['at-provider-1'])
    await reconcile(k.g.needs)
    expect(await only()).toMatchObject({ state: 'stopped' })
    const [view] = (await k.g.subscriptions.viewsOf(k.g.db, [k.connectionId])).get(k.connectionId) ?? []
    expect(view?.enabled).toBe(false)
    expect(await chooseSubscription(k.g.needs, viewer(), id, { enabled: true })).toBe('ok')
    expect(await work('renewals')).toBe(1)
    expect((await subscriptions()).map(({ state }) => state).sort()).toEqual(['active', 'stopped'])
  })

  test('IA-05 another person’s does not exist; an admin’s word counts for all', async () => {
    const { id } = await only()
    const other = { userId: await k.g.user('eve@example.com'), role: 'user' }
    expect(await chooseSubscription(k.g.needs, other, id, { enabled: false })).toBe('not_found')
    expect(await renewNow(k.g.needs, other, id)).toBe('not_found')
    expect(await only()).toMatchObject({ state: 'active' })
    expect(await renewNow(k.g.needs, { ...other, role: 'admin' }, id)).toBe('ok')
  })

  test('renew now: not within ten minutes of the last renewal, and only what lives', async () => {
    const { id } = await only()
    expect(await renewNow(k.g.needs, viewer(), id)).toBe('ok')
    expect(await work('renewals')).toBe(0)
    await pass(10)
    expect(await work('renewals')).toBe(1)
    expect(k.g.google.renewals).toHaveLength(1)
    await k.g.db.rows(sql`update auth.subscriptions set state = 'failed'`)
    expect(await renewNow(k.g.needs, viewer(), id)).toBe('not_live')
  })

  test('while the connection ends nothing is chosen', async () => {
    const { id } = await only()
    await k.g.db.rows(sql`update auth.oauth_tokens set status = 'revoking'`)
    expect(await chooseSubscription(k.g.needs, viewer(), id, { enabled: false })).toBe('busy')
  })

  test('what is not as it should be is counted by why, for living connections', async () => {
    expect(await countUnwell(k.g.db)).toEqual([])
    await k.g.db.rows(sql`update auth.subscriptions set renewal_failure_code = 'http_503'`)
    await k.g.db.rows(sql`update auth.subscription_checks set missed_at = auth.clock()`)
    await pass(6.5 * 24 * 60)
    await k.g.db.rows(sql`update auth.subscription_checks set missed_at = auth.clock() - interval '2 hours'`)
    const counted = async () =>
      Object.fromEntries((await countUnwell(k.g.db)).map(({ reason, count }) => [reason, count]))
    expect(await counted()).toEqual({ failing: 1, expiring: 1, silent: 1 })
    await k.g.db.rows(
      sql`update auth.subscriptions set state = 'wanted', updated_at = auth.clock() - interval '11 minutes'`,
    )
    expect(await counted()).toEqual({ waiting: 1 })
    await k.g.db.rows(sql`update auth.subscriptions set state = 'failed'`)
    expect(await counted()).toEqual({ failed: 1 })
    await k.g.db.rows(sql`update auth.oauth_tokens set status = 'revoked'`)
    expect(await counted()).toEqual({})
  })
})
