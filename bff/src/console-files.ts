/**
 * The built console as files: each file of the folder is a route of its own, and the page is served for the addresses
 * that the console's own router knows. There is no wildcard, so no path can name a file that was not built.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fastifyStatic from '@fastify/static'
import type { FastifyInstance } from 'fastify'

/** The console's own routes (console/src/routes.ts). Anything else is 404. */
export const PAGES = [
  '/',
  '/connections',
  '/events',
  '/events/:id',
  '/destinations',
  '/destinations/new',
  '/destinations/:id',
  '/destinations/:id/edit',
  '/deliveries',
  '/deliveries/:id',
  '/signin',
  '/auth/success',
  '/auth/error',
]

const BUILT = fileURLToPath(new URL('../../console/dist', import.meta.url))

/** @throws when the console is not built */
export function serveConsole(app: FastifyInstance, folder: string = BUILT): void {
  const page = join(folder, 'index.html')
  if (!existsSync(page)) {
    throw Object.assign(new Error('The console is not built: run npm run build.'), {
      code: 'console_not_built',
    })
  }
  const html = readFileSync(page)
  for (const url of PAGES) {
    app.get(url, async (_request, reply) =>
      reply.header('cache-control', 'no-cache').type('text/html; charset=utf-8').send(html),
    )
  }
  void app.register(fastifyStatic, {
    root: folder,
    wildcard: false,
    index: false,
    decorateReply: false,
    globIgnore: ['index.html'],
    cacheControl: false,
    setHeaders: (reply, path) => {
      // Vite puts a content hash into the name of everything below assets/.
      const hashed = path.startsWith(join(folder, 'assets'))
      reply.header('cache-control', hashed ? 'public, max-age=31536000, immutable' : 'no-cache')
    },
  })
}
