/**
 * What operators and their tools ask: readiness and metrics. Served on the internal port without a token, since probes
 * and scrapers have none; nothing personal is in it.
 */
import { Type } from 'typebox'
import type { Metrics } from '../platform/metrics.ts'
import { type Route, route } from './route.ts'

export interface OperatingNeeds {
  /** Why this process cannot serve, in fixed sentences; empty when it can. */
  readonly unready: () => Promise<readonly string[]>
  /** What an operator should see to soon, in fixed sentences; says nothing about being ready. */
  readonly notices: () => readonly string[]
  readonly metrics: Metrics
  /** Refreshes gauges that are read from the database; failures leave the last values. */
  readonly refreshGauges: () => Promise<void>
}

const READINESS = Type.Object({
  status: Type.String(),
  reasons: Type.Array(Type.String()),
  notices: Type.Array(Type.String()),
})

export function operatingRoutes(needs: OperatingNeeds): Route[] {
  return [
    route({
      method: 'GET',
      path: '/ready',
      access: 'public',
      summary: 'Whether this process can serve: database reachable and durable',
      responses: {
        200: READINESS,
        503: READINESS,
      },
      async handle() {
        const reasons = await needs.unready()
        return {
          status: reasons.length === 0 ? 200 : 503,
          body: {
            status: reasons.length === 0 ? 'ready' : 'not_ready',
            reasons,
            notices: [...needs.notices()],
          },
        }
      },
    }),
    route({
      method: 'GET',
      path: '/metrics',
      access: 'public',
      summary: 'Prometheus metrics',
      responses: {},
      async handle() {
        await needs.refreshGauges()
        const page = await needs.metrics.page()
        return { status: 200, body: page.body, headers: { 'content-type': page.contentType } }
      },
    }),
  ]
}
