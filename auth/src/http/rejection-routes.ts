/** The door to the sample of requests that were not genuine, for administrators. */
import { Type } from 'typebox'
import type { RejectionRow } from '../ingest/rejection-store.ts'
import { ok, type Route, route } from './route.ts'

export interface RejectionDoors {
  readonly rejections: () => Promise<readonly RejectionRow[]>
}

export function rejectionRoutes({ rejections }: RejectionDoors): Route[] {
  return [
    route({
      method: 'GET',
      path: '/internal/rejections',
      access: 'admin',
      summary:
        'Newest requests that were not genuine, by provider and reason: what a wrong secret looks like',
      responses: {
        200: Type.Object({
          items: Type.Array(
            Type.Object({
              id: Type.String(),
              at: Type.String(),
              provider: Type.String(),
              reason: Type.String(),
              header_names: Type.Array(Type.String()),
              body_bytes: Type.Union([Type.Integer(), Type.Null()]),
              body_sha256: Type.Union([Type.String(), Type.Null()]),
            }),
          ),
        }),
      },
      handle: async () => {
        const items = (await rejections()).map((row) => ({ ...row, at: row.at.toISOString() }))
        return ok({ items })
      },
    }),
  ]
}
