/**
 * Puts the Microsoft simulator together: the security token service and Graph on one port. It starts and
 * stops things and decides nothing.
 */
import { randomBytes } from 'node:crypto'
import { microsoftAccounts, receiveMail } from '../accounts.ts'
import { type ChangeOrder, changeItem, collectionOf } from '../collection.ts'
import { noFaults } from '../faults.ts'
import type { MicrosoftOptions } from '../options.ts'
import type { ChangeOutcome, Provider, PushOrder, PushOutcome } from '../provider.ts'
import { createServer, listen } from '../server.ts'
import { decideAdminConsent, readAdminConsent, serveAdminConsent } from './admin-consent.ts'
import { decide, readAuthorizationRequest } from './authorization.ts'
import { preselected, serveAuthorize } from './authorize.ts'
import { presentEvent, serveCalendar } from './calendar.ts'
import { withdrawConsent } from './consent.ts'
import { deliverAll } from './delivery.ts'
import { serveDiscovery } from './discovery.ts'
import { serveDrive } from './drive.ts'
import { microsoftFailureRows } from './failure-rows.ts'
import { serveMail } from './mail.ts'
import {
  changeParcels,
  type LifecycleEvent,
  lifecycleParcels,
  type MicrosoftForgery,
  mailParcels,
  microsoftForgeries,
  sendRaw,
} from './notification.ts'
import { presentSubscription } from './subscription.ts'
import { liveSubscriptions, serveSubscriptions } from './subscriptions.ts'
import { mint, serveToken } from './token.ts'
import {
  createMicrosoftWorld,
  findMicrosoftAccount,
  type MicrosoftWorld,
  mailboxOf,
  type WorldParts,
} from './world.ts'

export interface MicrosoftProvider extends Provider {
  name: 'microsoft'
  sendRaw(url: string, body: string): ReturnType<typeof sendRaw>
  /** @param only the id of one subscription @param isLost it takes effect, and nobody is told */
  sendLifecycle(account: string, event: LifecycleEvent, only?: string, isLost?: boolean): Promise<PushOutcome>
}

export async function startMicrosoft(
  options: MicrosoftOptions,
  parts: WorldParts,
): Promise<MicrosoftProvider> {
  const world = await createMicrosoftWorld(options, parts)
  const server = createServer({
    name: 'microsoft',
    log: parts.log,
    journal: world.journal,
    faults: world.faults,
  })
  serveDiscovery(server, world)
  serveAuthorize(server, world)
  serveToken(server, world)
  serveAdminConsent(server, world)
  serveSubscriptions(server, world)
  serveMail(server, world)
  serveDrive(server, world)
  serveCalendar(server, world)
  world.downloads.serve(server, world.journal)
  world.origin = await listen(server, options.port)
  return {
    name: 'microsoft',
    url: world.origin,
    server,
    faults: world.faults,
    journal: world.journal,
    postman: world.postman,
    authorize(url, decision) {
      const consent = /^\/([^/]+)\/v2\.0\/adminconsent$/.exec(url.pathname)?.[1]
      if (consent !== undefined) {
        const asked = readAdminConsent(world, decodeURIComponent(consent), url.search.slice(1))
        if (asked.kind === 'answered') return asked.authorization
        return decideAdminConsent(world, asked.request, decision)
      }
      const reading = readAuthorize(world, url)
      return reading.kind === 'answered' ? reading.authorization : decide(world, reading.request, decision)
    },
    hinted(url) {
      const reading = readAuthorize(world, url)
      return reading.kind === 'request' ? preselected(reading.request) : (microsoftAccounts[0]?.email ?? '')
    },
    choose: (decision) => world.choices.push(decision),
    mint: (account, scopes, count) => mint(world, account, scopes, count),
    failureRows: microsoftFailureRows,
    hasAccount: (account) => findMicrosoftAccount(account) !== undefined,
    async receiveMail(account, subject) {
      const id = `AAMkA${randomBytes(60).toString('base64url')}=`
      const mail = receiveMail(mailboxOf(world, account), id, subject, world.now())
      return {
        mail,
        pushes: await deliverAll(world, await mailParcels(world, account, mail, 'created', null)),
      }
    },
    change: (account, what, order) => change(world, account, what, order),
    push: (order) => push(world, order),
    mailbox: (account) => mailboxOf(world, account),
    revoke: (account) => world.tokens.revokeAccount(account),
    lose: (id) => world.subscriptions.delete(id),
    mute(id) {
      if (!world.subscriptions.has(id)) return false
      world.muted.add(id)
      return true
    },
    withdraw: (account) => withdrawConsent(world, account),
    rotateKeys: (drop) => world.keys.rotate(drop),
    resetFaults() {
      Object.assign(world.faults, noFaults('off'))
      world.choices.length = 0
      world.tenantConsents.clear()
      world.endpoints.clear()
      world.held.length = 0
    },
    leases: () => ({
      subscriptions: liveSubscriptions(world).map((subscription) => ({
        account: subscription.account,
        // what Graph keeps to itself (protocols/microsoft.md §2.4)
        tokenEndsAt: subscription.tokenExpiresAt,
        renewedAt: subscription.renewedAt,
        ...presentSubscription(subscription, options.clientId, true),
      })),
      endpoints: world.endpoints.list(),
      held: world.held.length,
    }),
    sendRaw: (url, body) => sendRaw(world, url, body),
    async sendLifecycle(account, event, only, isLost = false) {
      const parcels = await lifecycleParcels(world, account, event, only)
      return { kind: 'sent', pushes: isLost ? [] : await deliverAll(world, parcels) }
    },
  }
}

function readAuthorize(world: MicrosoftWorld, url: URL) {
  const segment = /^\/([^/]+)\/oauth2\/v2\.0\/authorize$/.exec(url.pathname)?.[1] ?? ''
  return readAuthorizationRequest(world, decodeURIComponent(segment), url.search.slice(1))
}

/** A file or an event changes. A drive's change is always an update of its root (protocols/microsoft.md §2.1). */
async function change(
  world: MicrosoftWorld,
  account: string,
  what: 'file' | 'event',
  order: ChangeOrder,
): Promise<ChangeOutcome> {
  const collection = collectionOf(what === 'file' ? world.drives : world.calendars, account)
  const mintId = () => (what === 'file' ? '01' : 'AAMkE') + randomBytes(24).toString('base64url')
  const made = changeItem(collection, order, mintId, world.now())
  if (made === null) return { kind: 'refused', reason: 'no such item' }
  const parcels = await changeParcels(
    world,
    account,
    {
      class: what === 'file' ? 'drive' : 'event',
      changeType: what === 'file' ? 'updated' : made.kind,
      id: made.item.id,
      etag: `W/"${made.item.version}"`,
      resource: what === 'event' && made.kind !== 'deleted' ? presentEvent(made.item) : null,
    },
    null,
  )
  return { kind: 'changed', change: made, pushes: await deliverAll(world, parcels) }
}

/** Notifies of the newest mail again: delayed, repeated or forged. */
async function push(world: MicrosoftWorld, order: PushOrder): Promise<PushOutcome> {
  const forge = readForgery(order.forge)
  if (forge === 'unknown')
    return { kind: 'refused', reason: `forge must be of ${microsoftForgeries.join(', ')}` }
  const mail = mailboxOf(world, order.account).mails.at(-1)
  if (mail === undefined) return { kind: 'refused', reason: 'no mail yet in this mailbox' }
  const parcels = await mailParcels(world, order.account, mail, 'created', forge)
  const copies = Array.from({ length: order.repeat }, () => parcels).flat()
  if (order.delayMs > 0) {
    return {
      kind: 'scheduled',
      deliveryIds: copies.map((parcel) => world.postman.deliverLater(parcel, order.delayMs)),
    }
  }
  return { kind: 'sent', pushes: await deliverAll(world, copies) }
}

function readForgery(name: string | null): MicrosoftForgery | null | 'unknown' {
  if (name === null) return null
  return microsoftForgeries.find((forgery) => forgery === name) ?? 'unknown'
}
