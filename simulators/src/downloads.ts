/**
 * Downloads as the providers do them: the API answers with a redirect to an address that needs no token and is
 * good for a short while. Who sends a token there too is seen in the journal.
 */
import { randomBytes } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { type Journal, noteApiRequest } from './journal.ts'
import { describeRequest } from './server.ts'

export interface Downloads {
  /** Path of an address that answers with this text for an hour. */
  offer(content: string): string
  serve(server: FastifyInstance, journal: Journal): void
}

const lifetimeMs = 3_600_000

export function createDownloads(now: () => number): Downloads {
  const offered = new Map<string, { content: string; expiresAt: number }>()
  return {
    offer(content) {
      const id = randomBytes(24).toString('base64url')
      offered.set(id, { content, expiresAt: now() + lifetimeMs })
      return `/download/${id}`
    },
    serve(server, journal) {
      server.get<{ Params: { id: string } }>('/download/:id', async (request, reply) => {
        const seen = describeRequest(request, now())
        noteApiRequest(journal, { ...seen, path: '/download/:id' })
        const found = offered.get(request.params.id)
        if (found === undefined || found.expiresAt <= now()) return reply.code(404).send({ error: 'gone' })
        return reply.header('content-type', 'application/octet-stream').send(found.content)
      })
    },
  }
}
