/** Makes a destination: judged, its signing secret drawn and sealed with its headers. The secret is told this once. */
import { audit } from '../audit/audit.ts'
import type { Db } from '../db/sql.ts'
import { newId } from '../platform/ids.ts'
import type { Vault } from '../vault/vault.ts'
import { destinationContext } from './destination-attempt.ts'
import { columnsOf, judge, type Refusal, type Saving } from './destination-change.ts'
import { insertDestination, setDestinationColumns } from './destination-store.ts'
import { type DestinationValues, n8nTestUrl } from './destination-values.ts'
import { newSigningSecret } from './signature.ts'

export type Creation =
  /** `secret` is plain: this answer is the only one that ever carries it. */
  | {
      readonly kind: 'created'
      readonly id: string
      readonly name: string
      readonly url: string
      readonly secret: string
    }
  | Refusal

export async function createDestination(
  needs: Saving,
  actor: string,
  destination: DestinationValues & { readonly name: string; readonly url: string },
): Promise<Creation> {
  const kind = destination.kind ?? 'http'
  const judged = await judge(needs.egress, destination, kind)
  if (judged.kind === 'refused') return judged.refusal
  const values = {
    ...judged.values,
    ...(kind === 'n8n' && destination.testUrl === undefined ? { testUrl: n8nTestUrl(judged.url) } : {}),
  }
  const made = await needs.db.transaction((tx) =>
    insertSealed(needs.vault, tx, actor, { ...values, name: destination.name, url: judged.url }),
  )
  return { kind: 'created', name: destination.name, url: judged.url, ...made }
}

/** @param destination judged already */
export async function insertSealed(
  vault: Vault,
  tx: Db,
  actor: string,
  destination: DestinationValues & { readonly name: string; readonly url: string },
): Promise<{ id: string; secret: string }> {
  const id = newId('dst')
  const context = destinationContext(id)
  const secret = newSigningSecret()
  const dataKey = vault.newDataKey(context)
  const key = vault.open(dataKey, context)
  await insertDestination(tx, {
    id,
    name: destination.name,
    url: destination.url,
    data_key: dataKey,
    secret: key.seal('secret', secret),
  })
  await setDestinationColumns(tx, id, columnsOf(key, destination))
  // The host only: a path can be a secret of the receiver's (n8n's webhook URLs are).
  await audit(tx, {
    actor,
    action: 'destination.created',
    subject: id,
    detail: {
      name: destination.name,
      kind: destination.kind ?? 'http',
      host: new URL(destination.url).host,
      headers: Object.keys(destination.headers ?? {}).join(' '),
    },
  })
  return { id, secret: secret.reveal() }
}
