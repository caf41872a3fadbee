/**
 * Puts the Google simulator together: accounts, tokens, Gmail and Pub/Sub push on one port. It starts and
 * stops things and decides nothing.
 */
import { randomBytes } from 'node:crypto'
import { googleAccounts, receiveMail } from '../accounts.ts'
import { noFaults } from '../faults.ts'
import { watchLeaseCalls } from '../lease-calls.ts'
import type { GoogleOptions } from '../options.ts'
import type { FirstAttempt } from '../postman.ts'
import type { Provider, PushOrder, PushOutcome } from '../provider.ts'
import { createServer, listen } from '../server.ts'
import { serveUserinfo } from './api.ts'
import { decide, readAuthorizationRequest } from './authorization.ts'
import { preselected, serveAuthorize } from './authorize.ts'
import { serveCalendar } from './calendar.ts'
import { liveChannels } from './channel.ts'
import { serveDiscovery } from './discovery.ts'
import { serveDrive } from './drive.ts'
import { googleFailureRows } from './failure-rows.ts'
import { serveGmail, wantsInbox } from './gmail.ts'
import {
  createPushTokens,
  type GoogleForgery,
  googleForgeries,
  mailEnvelope,
  type PushTokens,
  pushParcel,
} from './pubsub.ts'
import { sendSecurityEvent, serveRiscConfiguration } from './risc.ts'
import { mint, revokeProject, serveToken } from './token.ts'
import { changeWatched, leaseCallOf, pushChannel } from './watching.ts'
import {
  advance,
  createGoogleWorld,
  findGoogleAccount,
  type GoogleWorld,
  historyOf,
  liveWatch,
  mailboxOf,
  type WorldParts,
} from './world.ts'

export interface GoogleProvider extends Provider {
  name: 'google'
  /** An envelope of the caller's own making, once, with a good or a forged token. */
  sendRaw(body: string, forge: string | null): Promise<PushOutcome>
  pushChannel(account: string, order: Record<string, unknown>): Promise<PushOutcome>
  sendSecurityEvent(account: string, order: Record<string, unknown>): Promise<PushOutcome>
}

export async function startGoogle(options: GoogleOptions, parts: WorldParts): Promise<GoogleProvider> {
  const world = await createGoogleWorld(options, parts)
  const tokens = createPushTokens(world)
  const server = createServer({
    name: 'google',
    log: parts.log,
    journal: world.journal,
    faults: world.faults,
  })
  serveDiscovery(server, world)
  serveRiscConfiguration(server, world)
  serveAuthorize(server, world)
  serveToken(server, world)
  watchLeaseCalls(server, world, leaseCallOf)
  serveGmail(server, world, (account) => {
    world.postman.deliverLater(pushParcel(world, tokens, mailEnvelope(world, account, null), null), 0)
  })
  serveUserinfo(server, world)
  serveDrive(server, world)
  serveCalendar(server, world)
  world.origin = await listen(server, options.port)
  return {
    name: 'google',
    url: world.origin,
    server,
    faults: world.faults,
    journal: world.journal,
    postman: world.postman,
    authorize(url, decision) {
      const reading = readAuthorizationRequest(world, url.search.slice(1))
      return reading.kind === 'answered' ? reading.authorization : decide(world, reading.request, decision)
    },
    hinted(url) {
      const reading = readAuthorizationRequest(world, url.search.slice(1))
      return reading.kind === 'request' ? preselected(reading.request) : (googleAccounts[0]?.email ?? '')
    },
    choose: (decision) => world.choices.push(decision),
    mint: (account, scopes, count) => mint(world, account, scopes, count),
    failureRows: googleFailureRows,
    hasAccount: (account) => findGoogleAccount(account) !== undefined,
    async receiveMail(account, subject) {
      const mail = receiveMail(
        mailboxOf(world, account),
        randomBytes(8).toString('hex'),
        subject,
        world.now(),
      )
      const history = historyOf(world, account)
      history.records.push({ id: advance(history), messageId: mail.id })
      const watch = liveWatch(world, account)
      const wanted = watch !== null && wantsInbox(watch.labelIds, watch.exclude)
      const pushes = wanted ? await deliver(world, tokens, mailEnvelope(world, account, null), 1, null) : []
      return { mail, pushes }
    },
    change: (account, what, order) => changeWatched(world, account, what, order),
    push: (order) => push(world, tokens, order),
    mailbox: (account) => ({
      ...mailboxOf(world, account),
      historyId: `${historyOf(world, account).current}`,
    }),
    revoke: (account) => revokeProject(world, account),
    lose(id) {
      const channel = world.channels.get(id)
      if (channel === undefined || channel.stopped) return false
      channel.stopped = true
      return true
    },
    mute(id) {
      const channel = world.channels.get(id)
      if (channel === undefined || channel.stopped) return false
      world.muted.add(id)
      return true
    },
    withdraw: (account) => revokeProject(world, account),
    rotateKeys: (drop) => world.keys.rotate(drop),
    resetFaults() {
      Object.assign(world.faults, noFaults('on'))
      world.choices.length = 0
    },
    leases: () => ({
      watches: [...world.watches]
        .filter(([account]) => liveWatch(world, account) !== null)
        .map(([account, watch]) => ({
          account,
          ...watch,
          expiresAt: new Date(watch.expiresAt).toISOString(),
        })),
      channels: liveChannels(world).map(({ token: _secret, ...channel }) => ({
        ...channel,
        expiresAt: new Date(channel.expiresAt).toISOString(),
      })),
    }),
    pushChannel: (account, order) => pushChannel(world, account, order),
    sendSecurityEvent: (account, order) => sendSecurityEvent(world, account, order),
    async sendRaw(body, name) {
      const forge = readForgery(name)
      if (forge === 'unknown') return refusedForgery()
      const parcel = { ...pushParcel(world, tokens, body, forge), repeats: () => false }
      return { kind: 'sent', pushes: [await world.postman.deliver(parcel)] }
    },
  }
}

/** Publishes the state of the mailbox again: delayed, repeated (one message id) or forged. */
async function push(world: GoogleWorld, tokens: PushTokens, order: PushOrder): Promise<PushOutcome> {
  const forge = readForgery(order.forge)
  if (forge === 'unknown') return refusedForgery()
  const body = mailEnvelope(world, order.account, forge)
  if (order.delayMs > 0) {
    const parcel = pushParcel(world, tokens, body, forge)
    const later = () => world.postman.deliverLater(parcel, order.delayMs)
    return { kind: 'scheduled', deliveryIds: Array.from({ length: order.repeat }, later) }
  }
  return { kind: 'sent', pushes: await deliver(world, tokens, body, order.repeat, forge) }
}

function deliver(
  world: GoogleWorld,
  tokens: PushTokens,
  body: string,
  repeat: number,
  forge: GoogleForgery | null,
): Promise<FirstAttempt[]> {
  const parcel = pushParcel(world, tokens, body, forge)
  return Promise.all(Array.from({ length: repeat }, () => world.postman.deliver(parcel)))
}

function readForgery(name: string | null): GoogleForgery | null | 'unknown' {
  if (name === null) return null
  return googleForgeries.find((forgery) => forgery === name) ?? 'unknown'
}

function refusedForgery(): PushOutcome {
  return { kind: 'refused', reason: `forge must be of ${googleForgeries.join(', ')}` }
}
