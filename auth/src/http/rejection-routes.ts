/** The door to the sample of requests that were not genuine, for administrators. */
import { Type } from 'typebox'
import type { RejectionCountRow, RejectionRow } from '../ingest/rejection-store.ts'
import { ok, type Route, route } from './route.ts'

export interface RejectionDoors {
  readonly rejections: () => Promise<{
    readonly samples: readonly RejectionRow[]
    readonly counts: readonly RejectionCountRow[]
  }>
}

export function rejectionRoutes({ rejections }: RejectionDoors): Route[] {
  return [
    route({
      method: 'GET',
      path: '/internal/rejections',
      access: 'admin',
      summary:
        'Newest requests that were not genuine, by provider and reason, and how many there were by day: what a wrong secret looks like',
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
              subscription_id: Type.Union([Type.String(), Type.Null()]),
            }),
          ),
          counts: Type.Array(
            Type.Object({
              day: Type.String(),
              provider: Type.String(),
              reason: Type.String(),
              rejected: Type.Integer(),
              sampled: Type.Integer(),
              last_at: Type.String(),
            }),
          ),
        }),
      },
      handle: async () => {
        const { samples, counts } = await rejections()
        return ok({
          items: samples.map((row) => ({ ...row, at: row.at.toISOString() })),
          counts: counts.map((row) => ({ ...row, last_at: row.last_at.toISOString() })),
        })
      },
    }),
  ]
}
