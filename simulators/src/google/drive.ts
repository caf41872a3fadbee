/**
 * The little of Drive that one reads after a notification: start token, changes, files and their content, and the
 * watch calls (protocols/google.md §4). Files change through the control API only.
 */
import type { FastifyInstance, FastifyReply } from 'fastify'
import { changedSince, collectionOf, type Item } from '../collection.ts'
import { apiCaller, sendError } from './api.ts'
import { opensDrive } from './scopes.ts'
import { answerWatch, serveStop } from './watching.ts'
import type { GoogleWorld } from './world.ts'

const base = '/drive/v3'
type Page = { Querystring: { pageToken?: string; pageSize?: string } }
type ById = { Params: { id: string }; Querystring: { alt?: string } }

export function serveDrive(server: FastifyInstance, world: GoogleWorld): void {
  server.get(`${base}/changes/startPageToken`, async (request, reply) => {
    const caller = apiCaller(world, request, reply, opensDrive)
    if (caller === null) return reply
    const { version } = collectionOf(world.drives, caller.account)
    return reply.send({ kind: 'drive#startPageToken', startPageToken: `${version}` })
  })

  server.get<Page>(`${base}/changes`, async (request, reply) => {
    const caller = apiCaller(world, request, reply, opensDrive)
    if (caller === null) return reply
    const since = readToken(request.query.pageToken)
    if (since === null) return wrongToken(reply)
    const size = Math.min(Math.max(Number.parseInt(request.query.pageSize ?? '100', 10) || 100, 1), 1_000)
    const drive = collectionOf(world.drives, caller.account)
    const changed = changedSince(drive, since)
    const page = changed.slice(0, size)
    const last = page.at(-1)?.version ?? since
    return reply.send({
      kind: 'drive#changeList',
      changes: page.map((item) => ({
        kind: 'drive#change',
        changeType: 'file',
        time: new Date(item.changedAt).toISOString(),
        removed: item.removed,
        fileId: item.id,
        ...(item.removed ? {} : { file: present(item) }),
      })),
      ...(changed.length > page.length
        ? { nextPageToken: `${last}` }
        : { newStartPageToken: `${drive.version}` }),
    })
  })

  // nobody here has a shared drive
  server.get(`${base}/drives`, async (request, reply) => {
    const caller = apiCaller(world, request, reply, opensDrive)
    return caller === null ? reply : reply.send({ kind: 'drive#driveList', drives: [] })
  })

  server.post<Page>(`${base}/changes/watch`, async (request, reply) => {
    const { pageToken } = request.query
    if (readToken(pageToken) === null) return wrongToken(reply)
    const resourceUri = `https://www.googleapis.com/drive/v3/changes?alt=json&pageToken=${pageToken}`
    return answerWatch(world, request, reply, opensDrive, { kind: 'changes', target: '', resourceUri })
  })

  server.get(`${base}/files`, async (request, reply) => {
    const caller = apiCaller(world, request, reply, opensDrive)
    if (caller === null) return reply
    const items = [...collectionOf(world.drives, caller.account).items.values()]
    return reply.send({ kind: 'drive#fileList', files: items.filter((item) => !item.removed).map(present) })
  })

  server.get<ById>(`${base}/files/:id`, async (request, reply) => {
    const caller = apiCaller(world, request, reply, opensDrive)
    if (caller === null) return reply
    const item = collectionOf(world.drives, caller.account).items.get(request.params.id)
    if (item === undefined || item.removed) {
      return sendError(reply, 404, 'notFound', `File not found: ${request.params.id}.`, 'NOT_FOUND')
    }
    if (request.query.alt !== 'media') return reply.send(present(item))
    if (world.faults.redirectTo !== null) return reply.redirect(world.faults.redirectTo, 302)
    return reply.header('content-type', 'text/plain').send(item.content)
  })

  server.post<ById>(`${base}/files/:id/watch`, async (request, reply) => {
    const { id } = request.params
    const resourceUri = `https://www.googleapis.com/drive/v3/files/${encodeURIComponent(id)}?alt=json`
    return answerWatch(world, request, reply, opensDrive, { kind: 'file', target: id, resourceUri })
  })

  serveStop(server, world, `${base}/channels/stop`, opensDrive)
}

/** Page tokens never expire (protocols/google.md §4.4). */
function readToken(value: string | undefined): number | null {
  return value !== undefined && /^\d{1,15}$/.test(value) ? Number(value) : null
}

function wrongToken(reply: FastifyReply): FastifyReply {
  return sendError(reply, 400, 'invalid', 'Invalid Value for pageToken', 'INVALID_ARGUMENT')
}

function present(item: Item) {
  return {
    kind: 'drive#file',
    id: item.id,
    name: item.name,
    mimeType: 'text/plain',
    modifiedTime: new Date(item.changedAt).toISOString(),
  }
}
