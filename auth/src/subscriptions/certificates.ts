/**
 * Which certificate a provider is given with a subscription, and the private keys for what it encrypts to them. One is made
 * with the subscription and another one with the first renewal after a week; the old one still opens what was encrypted
 * to it for three days. Private keys are sealed at rest and bound to their row; opened ones stay in a small cache.
 */
import { createPrivateKey } from 'node:crypto'
import type { Encryption, PrivateKeyReading, ProviderSubscriptions } from '@flovify/providers'
import type { Db } from '../db/sql.ts'
import { newId } from '../platform/ids.ts'
import { errorFields, type Log } from '../platform/log.ts'
import type { Vault } from '../vault/vault.ts'
import type { DueRow } from '../work/work.ts'
import {
  dropRetiredCertificates,
  findCertificate,
  findPrivateKey,
  insertCertificate,
} from './certificate-store.ts'
import { LruCache } from './lru-cache.ts'
import type { SubscriptionToCreate } from './store.ts'

const DAY_SECONDS = 24 * 3_600
/** Making a pair costs 0.1 s of a processor: with each renewal it would be the most expensive thing that a subscription does. */
const ROTATE_AFTER_SECONDS = 7 * DAY_SECONDS
/** Graph repeats for four hours, and may hold pushes back until a renewal (protocols/microsoft.md §2.4). */
const OVERLAP_SECONDS = 3 * DAY_SECONDS

export interface CertificateNeeds {
  readonly db: Db
  readonly vault: Vault
}

export type CertificateChoice =
  /** Pushes of this one say only that something changed. */
  | { readonly kind: 'none' }
  | { readonly kind: 'encrypt'; readonly encryption: Encryption }
  | { readonly kind: 'lease_lost' }

export const wantsContent = (
  side: Pick<ProviderSubscriptions, 'encryption'>,
  of: { readonly resource: string; readonly tenant: string | null; readonly scope: string },
): boolean =>
  side.encryption?.wants({
    resource: of.resource,
    tenant: of.tenant ?? undefined,
    grantedScopes: of.scope.split(' ').filter((scope) => scope !== ''),
  }) === true

/** Before a call that makes or renews. A certificate that the provider may have heard of already is not made twice. */
export async function chooseCertificate(
  needs: CertificateNeeds,
  due: DueRow,
  subscription: SubscriptionToCreate,
  side: ProviderSubscriptions,
): Promise<CertificateChoice> {
  if (side.encryption === undefined || !wantsContent(side, subscription)) return { kind: 'none' }
  const known = await findCertificate(needs.db, subscription.id, ROTATE_AFTER_SECONDS)
  if (known !== undefined)
    return {
      kind: 'encrypt',
      encryption: { certificateId: known.id, certificate: known.certificate },
    }
  const { certificate, privateKey } = await side.encryption.newCertificate()
  const id = newId('crt')
  const { owner_id: ownerId, provider } = subscription
  const context = { purpose: 'subscription_certificates', owner: ownerId, row: id, provider } as const
  const dataKey = needs.vault.newDataKey(context)
  const sealed = needs.vault.open(dataKey, context).seal('private_key', privateKey)
  const row = { id, ownerId, provider, dataKey, privateKey: sealed, certificate }
  if (!(await insertCertificate(needs.db, due, row))) return { kind: 'lease_lost' }
  return { kind: 'encrypt', encryption: { certificateId: id, certificate } }
}

export const sweepCertificates = (db: Db) => dropRetiredCertificates(db, OVERLAP_SECONDS)

export interface PrivateKeys {
  read(subscriptionId: string, certificateId: string): Promise<PrivateKeyReading>
}

const KEPT = 1_000
const KEPT_MS = 60_000
const NOT_KEPT = 0

/** What is unknown, or cannot be opened now, is never kept: it may be known in a moment. */
export function openPrivateKeys(
  needs: CertificateNeeds & { readonly monotonicMs: () => number; readonly log: Log },
): PrivateKeys {
  const cache = new LruCache<PrivateKeyReading>(KEPT, needs.monotonicMs)
  return {
    read: (subscriptionId, certificateId) =>
      cache.read(`${subscriptionId}/${certificateId}`, async () => {
        const value = await readPrivateKey(needs, subscriptionId, certificateId)
        return { value, keepMs: value.kind === 'key' ? KEPT_MS : NOT_KEPT }
      }),
  }
}

async function readPrivateKey(
  needs: CertificateNeeds & { readonly log: Log },
  subscriptionId: string,
  certificateId: string,
): Promise<PrivateKeyReading> {
  const row = await findPrivateKey(needs.db, subscriptionId, certificateId)
  if (row === undefined) return { kind: 'unknown' }
  const { owner_id: owner, provider } = row
  const context = { purpose: 'subscription_certificates', owner, row: certificateId, provider } as const
  try {
    const key = needs.vault.open(row.data_key, context).unseal('private_key', row.private_key)
    const bytes = Buffer.from(key.reveal(), 'base64')
    return { kind: 'key', key: createPrivateKey({ key: bytes, format: 'der', type: 'pkcs8' }) }
  } catch (error) {
    needs.log.error(
      { provider, subscription: subscriptionId, certificate: certificateId, ...errorFields(error) },
      'the private key of a certificate cannot be opened; its pushes become events without their content',
    )
    return { kind: 'unusable' }
  }
}
