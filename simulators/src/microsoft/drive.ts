/**
 * The little of OneDrive that one reads after a notification: delta, items, and a download that redirects to an
 * address without a token (protocols/microsoft.md §4.4). Files change through the control API only.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { changedSince, collectionOf, type Item } from '../collection.ts'
import type { HeldToken } from '../tokens.ts'
import { callerOf, sendGraphError } from './graph.ts'
import { includesScope } from './scopes.ts'
import type { MicrosoftWorld } from './world.ts'

const deltaPath = '/v1.0/me/drive/root/delta'
const pageSize = 100
type ById = { Params: { id: string } }

export function serveDrive(server: FastifyInstance, world: MicrosoftWorld): void {
  server.get<{ Querystring: { token?: string } }>(deltaPath, async (request, reply) => {
    const caller = enter(world, request, reply)
    if (caller === null) return reply
    const drive = collectionOf(world.drives, caller.account)
    const { token } = request.query
    const link = (value: string | number) => `${world.origin}${deltaPath}?token=${value}`
    if (token !== undefined && token !== 'latest' && (world.faults.historyExpired || !/^\d+$/.test(token))) {
      reply.header('location', `${world.origin}${deltaPath}`)
      return sendGraphError(world, request, reply, 410, 'resyncChangesApplyDifferences', 'Resync required.')
    }
    const since = token === 'latest' ? drive.version : Number(token ?? 0)
    const changed = changedSince(drive, since)
    const page = changed.slice(0, pageSize)
    const more = changed.length > page.length
    return reply.send({
      '@odata.context': `${world.origin}/v1.0/$metadata#Collection(driveItem)`,
      value: page.map(present),
      ...(more
        ? { '@odata.nextLink': link(page.at(-1)?.version ?? since) }
        : { '@odata.deltaLink': link(drive.version) }),
    })
  })

  server.get<ById>('/v1.0/me/drive/items/:id', async (request, reply) => {
    const item = await findItem(world, request, reply)
    return item === null ? reply : reply.send(present(item))
  })

  server.get<ById>('/v1.0/me/drive/items/:id/content', async (request, reply) => {
    const item = await findItem(world, request, reply)
    if (item === null) return reply
    const own = world.origin + world.downloads.offer(item.content)
    return reply.redirect(world.faults.redirectTo ?? own, 302)
  })
}

async function findItem(
  world: MicrosoftWorld,
  request: FastifyRequest<ById>,
  reply: FastifyReply,
): Promise<Item | null> {
  const caller = enter(world, request, reply)
  if (caller === null) return null
  const item = collectionOf(world.drives, caller.account).items.get(request.params.id)
  if (item !== undefined && !item.removed) return item
  sendGraphError(world, request, reply, 404, 'itemNotFound', 'The resource could not be found.')
  return null
}

function enter(world: MicrosoftWorld, request: FastifyRequest, reply: FastifyReply): HeldToken | null {
  const caller = callerOf(world, request, reply)
  if (caller === null) return null
  const names = ['Files.Read', 'Files.Read.All', 'Files.ReadWrite', 'Files.ReadWrite.All']
  if (names.some((name) => includesScope(caller.scopes, name))) return caller
  sendGraphError(world, request, reply, 403, 'accessDenied', 'Access denied')
  return null
}

function present(item: Item) {
  return {
    id: item.id,
    name: item.name,
    lastModifiedDateTime: new Date(item.changedAt).toISOString(),
    eTag: `"{${item.id}},${item.version}"`,
    ...(item.removed ? { deleted: {} } : { file: { mimeType: 'text/plain' }, size: item.content.length }),
  }
}
