/**
 * What every provider that can be subscribed to must do, for each of its resources: create, renew or be replaced, stop,
 * check. A provider's own test gives the paths of its endpoints and what they answer when all is well.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Failure, Provider, ProviderModule } from '../src/provider.ts'
import { Secret } from '../src/secret.ts'
import { expectNoCanary, openWith, type ProviderWorld } from './conformance.ts'
import { type Loopback, type Reply, startClock, type TestClock } from './loopback.ts'

export interface WatchedFixture {
  readonly resource: string
  /** Paths of the calls that create, stop and check; `renew` where it can be prolonged. */
  readonly paths: Readonly<{ create: string; stop: string; check: string; renew?: string }>
  /** Each path's answer when all is well, expiring as long from now as given. */
  good(clock: TestClock, lifeMs: number): Readonly<Record<string, Reply>>
  /** `no`: it pushes to one fixed place and gets no secret. */
  readonly sendsSecret: boolean
}

export interface SubscriptionsFixture {
  start(clock: TestClock): Promise<ProviderWorld & { readonly server: Loopback }>
  /** Scopes that carry all of them. */
  readonly scopes: readonly string[]
  readonly watched: readonly WatchedFixture[]
}

const MINUTE_MS = 60_000
const DAY_MS = 24 * 60 * MINUTE_MS
const CLASSES = ['permanent', 'needs_user', 'needs_admin', 'our_configuration', 'transient', 'throttled']
const THEIR_ID = 'their-id/resource-id'
const SECRET = 'canary-refresh-9f2c'

/** Answers that say nothing good, and whether they must pass by themselves. */
const BAD: readonly (readonly [string, Reply, boolean])[] = [
  ['500', { status: 500, body: 'x' }, true],
  ['503 with Retry-After', { status: 503, headers: { 'retry-after': '7' }, body: {} }, true],
  ['429', { status: 429, headers: { 'retry-after': '7' }, body: {} }, true],
  ['401', { status: 401, body: {} }, false],
  ['403', { status: 403, body: {} }, false],
  ['a redirect', { status: 302, headers: { location: 'http://127.0.0.1:9/' } }, true],
  ['no JSON', { status: 200, body: '<html>' }, true],
  ['hostile JSON', { status: 200, body: `{"a":${'['.repeat(5_000)}` }, true],
  ['an empty object', { status: 200, body: {} }, false],
  ['a body without an end', { status: 200, body: 'x'.repeat(50), hang: 'in body' }, true],
]

export function describeSubscriptions(module: ProviderModule, fixture: SubscriptionsFixture): void {
  describe.each(fixture.watched)(`${module.id} keeps the contract of subscriptions: $resource`, (watched) => {
    const { resource, paths } = watched
    let clock: TestClock
    let world: Awaited<ReturnType<SubscriptionsFixture['start']>>
    let provider: Provider
    beforeEach(async () => {
      clock = startClock()
      world = await fixture.start(clock)
      provider = openWith(module, world.environment, clock)
      answer(7 * DAY_MS)
    })
    afterEach(() => world.close())

    const answer = (lifeMs: number) => {
      for (const [path, reply] of Object.entries(watched.good(clock, lifeMs))) world.server.reply(path, reply)
    }
    const call = () => ({ resource, accessToken: new Secret('t'), signal: AbortSignal.timeout(400) })
    const create = () =>
      provider.subscriptions.create({
        ...call(),
        notificationUrl: 'https://hooks.example/webhook/events/x/ref',
        channelSecret: new Secret(SECRET),
      })
    const renew = () =>
      provider.subscriptions.renew({
        ...call(),
        providerSubscriptionId: THEIR_ID,
        grantedLifeMs: undefined,
      })
    const stop = () => provider.subscriptions.stop({ ...call(), providerSubscriptionId: THEIR_ID })
    const check = (cursor?: string) => provider.subscriptions.check({ ...call(), cursor })
    const expectFailure = (outcome: { kind: string; failure?: Failure }, passes: boolean) => {
      expect(outcome.kind).toBe('failed')
      expect(CLASSES).toContain(outcome.failure?.class)
      expect(outcome.failure?.code).toMatch(/^[A-Za-z0-9_.]{1,64}$/)
      if (passes) expect(['transient', 'throttled']).toContain(outcome.failure?.class)
      expectNoCanary(outcome)
    }

    it('is wanted with the scopes, under a name of its own', () => {
      const wanted = provider.subscriptions.wanted(fixture.scopes)
      expect(new Set(wanted.map(({ kind }) => kind)).size).toBe(wanted.length)
      expect(wanted.every(({ kind }) => /^[a-z]+$/.test(kind))).toBe(true)
      expect(wanted).toEqual(provider.subscriptions.wanted(fixture.scopes))
      expect(provider.subscriptions.wanted(['unknown.scope'])).toEqual([])
    })

    it('says how late a push may be', () => {
      const delay = provider.subscriptions.pushDelayMs(resource)
      expect(delay).toBeGreaterThan(0)
      expect(delay).toBeLessThan(DAY_MS)
    })

    it('is created, and says nothing of the secret that it sent', async () => {
      const outcome = await create()
      if (outcome.kind !== 'created') throw new Error(JSON.stringify(outcome))
      expect(outcome.expiresAt.getTime()).toBe(clock.now.getTime() + 7 * DAY_MS)
      expect(outcome.providerSubscriptionId).toMatch(/^[\x21-\x7e]{1,400}$/)
      expectNoCanary(outcome)
      const sent = world.server.requestsTo(paths.create).at(-1)
      expect(sent?.headers.authorization).toBe('Bearer t')
      expect(sent?.body.includes(SECRET)).toBe(watched.sendsSecret)
    })

    it.each(BAD)(
      'WI-16 a create call that is answered %s fails by its class',
      async (_name, reply, passes) => {
        world.server.reply(paths.create, reply)
        expectFailure(await create(), passes)
      },
    )

    it('WI-16 believes no life below ten minutes, none that is over, and none of years', async () => {
      for (const lifeMs of [9 * MINUTE_MS, 0, -DAY_MS, 400 * DAY_MS]) {
        answer(lifeMs)
        expectFailure(await create(), true)
      }
      answer(11 * MINUTE_MS)
      expect((await create()).kind).toBe('created')
    })

    if (paths.renew === undefined)
      it('cannot be prolonged: it is replaced', () => {
        expect(provider.subscriptions.isReplaced?.(resource)).toBe(true)
      })
    else {
      const path = paths.renew
      it('is prolonged', async () => {
        expect(provider.subscriptions.isReplaced?.(resource) ?? false).toBe(false)
        expect(await renew()).toEqual({
          kind: 'renewed',
          expiresAt: new Date(clock.now.getTime() + 7 * DAY_MS),
        })
      })

      it.each(BAD)('WI-16 a renewal that is answered %s fails by its class', async (_name, reply, passes) => {
        world.server.reply(path, reply)
        expectFailure(await renew(), passes)
      })
    }

    it('stopping what is not there any more is success; a failure is none', async () => {
      world.server.reply(paths.stop, { status: 404, body: {} })
      expect(await stop()).toEqual({ kind: 'stopped' })
      world.server.reply(paths.stop, { status: 500, body: {} })
      expectFailure(await stop(), true)
    })

    it('a check begins without a cursor, and goes on from its own', async () => {
      const first = await check()
      if (first.kind !== 'checked') throw new Error(JSON.stringify(first))
      expect(first.changed).toBe(false)
      expect(first.cursor).not.toBe('')
      expect(await check(first.cursor)).toMatchObject({ kind: 'checked', changed: false })
    })

    it.each(BAD.filter(([name]) => name !== 'an empty object'))(
      'a check that is answered %s fails and moves no cursor',
      async (_name, reply, passes) => {
        const first = await check()
        if (first.kind !== 'checked') throw new Error(JSON.stringify(first))
        world.server.reply(paths.check, reply)
        expectFailure(await check(first.cursor), passes)
      },
    )

    it('ends when the caller’s time is over', async () => {
      for (const path of [paths.create, paths.stop, paths.check])
        world.server.reply(path, { status: 200, hang: 'at once' })
      expectFailure(await create(), true)
      expectFailure(await stop(), true)
      expectFailure(await check('1'), true)
    })
  })
}
