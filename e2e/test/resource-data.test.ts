/**
 * Notifications with resource data through the whole system of real processes: the subscription with its certificate, a
 * message as an event that carries it to the receiver, the exchange of certificates at a renewal, and every forgery that
 * the simulator knows. The simulator encrypts and signs by itself, from the documentation.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { askSimulators } from '../src/control.ts'
import { type MovedStack, openMovedStack, waitFor } from '../src/moved-stack.ts'

const HOUR_MS = 3600_000
const ACCOUNT = { provider: 'microsoft', account: 'adele@contoso.test' }

describe('WI-01 WI-12 resource data', () => {
  let world: MovedStack
  beforeAll(async () => {
    world = await openMovedStack({
      MICROSOFT_RESOURCE_DATA: 'mail,calendar',
      MICROSOFT_WATCH: 'mail,calendar',
      GOOGLE_WATCH: 'mail',
    })
    await waitFor('all are active', leases, (all) => all.length === 2)
    // what is answered is what counts here, not how busy the machine is
    await faults({ pushTimeoutsMs: [20_000, 20_000] })
  }, 120_000)
  afterAll(() => world?.close())
  afterEach(() =>
    faults({
      itemsAs: 'documented',
      validationTokensAs: 'v2',
      losePushes: false,
      pauseOnTokenExpiry: false,
    }),
  )

  interface Lease {
    id: string
    resource: string
    includeResourceData: boolean | null
    encryptionCertificateId: string | null
    expirationDateTime: string
  }
  const leases = async (): Promise<Lease[]> => {
    const state = await askSimulators<{ microsoft: { subscriptions: Lease[] } }>(world.stack, '/state')
    return state.microsoft.subscriptions
  }
  const mail = async () => (await leases()).find(({ resource }) => resource.startsWith('me/messages'))
  const faults = (of: object) => world.control('/faults', { provider: 'microsoft', ...of })
  const message = (subject: string) => world.control('/message', { ...ACCOUNT, subject })
  interface Data {
    resourceId?: string
    resourceData?: { subject?: string; bodyPreview?: string; id?: string }
    resourceDataMissing?: string
  }
  /** Of one subject, or those that could not be read. */
  const events = async () =>
    (
      await world.db.query<{ type: string; data: { data: Data } }>(
        `select type, convert_from(data, 'UTF8')::json as data from auth.events
          where provider = 'microsoft' and type like '%.notified' order by recorded_at, seq`,
      )
    ).rows.map(({ data }) => data.data)
  const arrived = (subject: string) =>
    waitFor(subject, events, (all) => all.some(({ resourceData }) => resourceData?.subject === subject))
  /** Counted, each of them; samples are few in a second. */
  const rejections = async () =>
    (await world.db.query<{ reason: string }>('select distinct reason from auth.rejection_counts')).rows.map(
      ({ reason }) => reason,
    )

  test('both are subscribed with a certificate, its id and a choice of properties, for a day', async () => {
    const all = await leases()
    expect(all.map(({ includeResourceData }) => includeResourceData)).toEqual([true, true])
    expect(all.map(({ resource }) => resource.split('?')[0]).sort()).toEqual(['me/events', 'me/messages'])
    const ids = all.map(({ encryptionCertificateId }) => encryptionCertificateId)
    expect(new Set(ids).size).toBe(2)
    const { rows } = await world.db.query<{ id: string; private_key: string }>(
      'select id, private_key from auth.subscription_certificates',
    )
    expect(rows.map(({ id }) => id).sort()).toEqual([...ids].sort())
    for (const row of rows) expect(row.private_key).toMatch(/^atv1\./)
    for (const { expirationDateTime } of all)
      expect(Date.parse(expirationDateTime) - Date.now()).toBeLessThan(24 * HOUR_MS)
  })

  test('a message arrives with its subject and preview, in the event and, signed, at the receiver', async () => {
    const { pushes } = await message('Quarterly figures')
    expect(pushes?.map(({ status }) => status)).toEqual([202])
    const found = (await arrived('Quarterly figures')).at(-1)
    expect(found?.resourceData?.bodyPreview).toBe('Hello, this is about Quarterly figures')
    expect(found?.resourceData?.id).toBe(found?.resourceId)
    expect(found?.resourceData).not.toHaveProperty('body')
    const receipt = await waitFor(
      'the delivery',
      async () => world.stack.receiver.received().find(({ body }) => body.includes('Quarterly figures')),
      (one) => one !== undefined,
    )
    expect(receipt?.verified).toBe(true)
  })

  test('so does an event of the calendar; what is deleted has no content and is told all the same', async () => {
    await world.control('/change', { ...ACCOUNT, what: 'event', name: 'Board meeting', id: undefined })
    const found = (await arrived('Board meeting')).at(-1)
    await world.control('/change', { ...ACCOUNT, what: 'event', id: found?.resourceId, remove: true })
    const after = await waitFor(
      'the deletion',
      events,
      (all) => all.filter(({ resourceId }) => resourceId === found?.resourceId).length === 2,
    )
    expect(after.at(-1)).not.toHaveProperty('resourceData')
    expect(after.at(-1)).not.toHaveProperty('resourceDataMissing')
  })

  test('tokens of version 1, and the spellings and members that were met in the field', async () => {
    await faults({ validationTokensAs: 'v1' })
    await message('version 1')
    await arrived('version 1')
    await faults({ itemsAs: 'seen' })
    await message('as seen')
    await arrived('as seen')
    const { pushes } = await world.control('/lifecycle', { ...ACCOUNT, event: 'reauthorizationRequired' })
    expect(pushes?.map(({ status }) => status)).toEqual([202, 202])
  })

  test('a repetition that is encrypted anew is the same event', async () => {
    await message('to be repeated')
    const before = (await arrived('to be repeated')).length
    await world.control('/push', { ...ACCOUNT, repeat: 3 })
    await message('after the repetition')
    expect((await arrived('after the repetition')).length).toBe(before + 1)
  })

  const forgeries: [string, string][] = [
    ['data', 'bad_data_signature'],
    ['dataSignature', 'bad_data_signature'],
    ['noTokens', 'no_validation_token'],
    ['nullTokens', 'null_validation_token'],
    ['tokenTenant', 'token_of_another_tenant'],
    ['tokenPublisher', 'wrong_publisher'],
    ['tokenExpired', 'expired_token'],
    ['tokenAudience', 'wrong_audience'],
    ['tokenIssuer', 'wrong_issuer'],
    ['tokenKey', 'bad_signature'],
    ['clientState', 'bad_client_state'],
    ['tenant', 'wrong_tenant'],
  ]
  test.each(forgeries)('WI-01 forged in %s: answered 202, counted, never stored', async (forge, reason) => {
    // a mail that nobody was told of, so that nothing else keeps it out
    await faults({ losePushes: true })
    await message(`never told, ${forge}`)
    await faults({ losePushes: false })
    const before = (await events()).length
    const stored = async () =>
      Number((await world.db.query('select count(*)::int as n from auth.notifications')).rows[0]?.n)
    const notifications = await stored()
    for (const version of ['v1', 'v2']) {
      await faults({ validationTokensAs: version })
      const { pushes } = await world.control('/push', { ...ACCOUNT, forge })
      expect(pushes?.map(({ status }) => status)).toEqual([202])
    }
    await waitFor(reason, rejections, (all) => all.includes(reason))
    expect((await events()).length).toBe(before)
    expect(await stored()).toBe(notifications)
    const metrics = await (await fetch(`${world.stack.urls.internal}/metrics`)).text()
    expect(metrics).toContain(
      `flovify_webhook_signature_failures_total{provider="microsoft",reason="${reason}"}`,
    )
    // and the genuine one is believed
    await world.control('/push', { ...ACCOUNT })
    await arrived(`never told, ${forge}`)
  })

  test('a tenant that was not set up sends null: counted, and found by the next check instead', async () => {
    await faults({ validationTokensAs: 'null' })
    const { pushes } = await message('without a token')
    expect(pushes?.map(({ status }) => status)).toEqual([202])
    await waitFor('counted', rejections, (all) => all.includes('no_validation_token'))
    expect((await events()).some(({ resourceData }) => resourceData?.subject === 'without a token')).toBe(
      false,
    )
  })

  test('what was encrypted to a certificate that we do not have becomes an event without it, counted', async () => {
    await faults({ losePushes: true })
    await message('unreadable')
    await faults({ losePushes: false })
    const { pushes } = await world.control('/push', { ...ACCOUNT, forge: 'certificateId' })
    expect(pushes?.map(({ status }) => status)).toEqual([202])
    await waitFor('told', events, (all) =>
      all.some(({ resourceDataMissing }) => resourceDataMissing === 'unknown_certificate'),
    )
    expect((await events()).at(-1)).not.toHaveProperty('resourceData')
    const metrics = await (await fetch(`${world.stack.urls.internal}/metrics`)).text()
    expect(metrics).toContain(
      'flovify_webhook_unreadable_total{provider="microsoft",reason="unknown_certificate"} 1',
    )
  })

  test('WI-16 a renewal keeps a young certificate and exchanges an old one; what is on its way to the old one still opens', async () => {
    const before = await mail()
    const renewed = (than: Lease | undefined) => (now: Lease | undefined) =>
      now !== undefined && now.expirationDateTime > (than?.expirationDateTime ?? '')
    /** Nothing is renewed by itself: an earlier test's lifecycle message left a renewal ten minutes after the creation. */
    const putOff = () =>
      world.db.query(`update auth.subscription_renewals set due_at = auth.clock() + interval '12 hours'`)
    /** With a token that lives: a renewal that finds an expired one comes again some seconds later. */
    const renew = async () => {
      const alive = 'select 1 from auth.oauth_tokens where provider = $1 and expires_at > auth.clock()'
      await waitFor(
        'the token is refreshed',
        async () => (await world.db.query(alive, ['microsoft'])).rowCount,
        (n) => n === 1,
      )
      await world.control('/lifecycle', { ...ACCOUNT, event: 'reauthorizationRequired' })
    }
    await putOff()
    await world.advance(2 * HOUR_MS)
    await renew()
    const kept = await waitFor('renewed', mail, renewed(before))
    expect(kept?.encryptionCertificateId).toBe(before?.encryptionCertificateId)
    expect(kept?.id).toBe(before?.id)
    // written down, too: what is put off then stays put off
    const written = `select 1 from auth.subscriptions where provider_subscription_id = $1 and expires_at >= $2`
    await waitFor(
      'the renewal is written',
      async () => (await world.db.query(written, [kept?.id, kept?.expirationDateTime])).rowCount,
      (n) => n === 1,
    )
    await putOff()
    // the access token has ended: Graph holds pushes back until the next renewal, encrypted to the old certificate
    await world.advance(2 * HOUR_MS)
    await faults({ pauseOnTokenExpiry: true })
    const held = await message('encrypted before the exchange')
    expect(held.pushes).toEqual([])
    await world.db.query(
      `update auth.subscription_certificates set created_at = created_at - interval '7 days'`,
    )
    await renew()
    const exchanged = await waitFor('renewed again', mail, renewed(kept))
    expect(exchanged?.id).toBe(before?.id)
    expect(exchanged?.encryptionCertificateId).not.toBe(before?.encryptionCertificateId)
    await message('encrypted after the exchange')
    await arrived('encrypted after the exchange')
    await arrived('encrypted before the exchange')
    expect(
      (await world.db.query('select 1 from auth.subscription_gaps where reason <> $1', ['missed'])).rows,
    ).toEqual([])
  }, 90_000)

  test('OP-01 nothing of a message, and no token, stands in a log', () => {
    const { logDir } = world.stack
    const logs = ['auth.log', 'bff.log', 'postgres.log', 'simulators.log']
      .map((name) => readFileSync(join(logDir, name), 'utf8'))
      .join('\n')
    expect(logs.length).toBeGreaterThan(1_000)
    for (const word of [
      'Quarterly',
      'Board meeting',
      'this is about',
      'never told',
      'encrypted before',
      'PRIVATE KEY',
    ])
      expect(logs).not.toContain(word)
    expect(logs).not.toMatch(/eyJ[A-Za-z0-9_-]{10,}\.eyJ/)
  })
})
