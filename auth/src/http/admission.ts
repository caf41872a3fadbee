/**
 * Who may call a route, computed once and before a byte of the body is read: the service token first, then for a named
 * caller its permission, then for everybody else the session that the route's access asks for. A named caller acts for
 * nobody: a session that it sends along is not looked at. Headers that name a user, a tenant or a forwarded address are
 * never read.
 */
import type { FastifyRequest } from 'fastify'
import { ALL_CONNECTIONS } from '../db/connection-scope.ts'
import type { Metrics } from '../platform/metrics.ts'
import {
  ADMIN_REQUIRED,
  type ErrorBody,
  PERMISSION_REQUIRED,
  SERVICE_TOKEN_REQUIRED,
  SIGN_IN_REQUIRED,
  TOO_MANY_FAILURES,
} from './answers.ts'
import type { Caller, Route, Service } from './route.ts'
import type { ServiceGate } from './service-gate.ts'

export interface AdmissionNeeds {
  readonly gate: ServiceGate
  /** Finds who a session token belongs to. */
  readonly session: (token: string) => Promise<Caller | undefined>
  /** Audits that a named caller asked for what it may not. */
  readonly denied: (
    caller: string,
    what: { route: string; permission: string; subject: string },
  ) => Promise<void>
  readonly metrics: Metrics
}

export type Admission =
  | { readonly kind: 'admitted'; readonly service: Service | undefined; readonly caller: Caller | undefined }
  | {
      readonly kind: 'refused'
      readonly status: number
      readonly body: ErrorBody
      readonly headers?: Readonly<Record<string, string>>
    }

export async function admit(
  needs: AdmissionNeeds,
  route: Pick<Route, 'access' | 'permission' | 'method' | 'path'>,
  request: FastifyRequest,
): Promise<Admission> {
  if (route.access === 'public') return { kind: 'admitted', service: undefined, caller: undefined }
  const verdict = await needs.gate.judge(request.headers['x-service-token'], request.ip)
  switch (verdict.kind) {
    case 'refused':
      needs.metrics.serviceTokenFailures()
      return { kind: 'refused', status: 401, body: SERVICE_TOKEN_REQUIRED }
    case 'throttled':
      needs.metrics.serviceTokenFailures()
      return { kind: 'refused', status: 429, body: TOO_MANY_FAILURES, headers: { 'retry-after': '60' } }
    case 'named': {
      const { name, permissions, scope } = verdict.caller
      if (route.permission === undefined || !permissions.includes(route.permission)) {
        await needs.denied(name, {
          route: `${route.method} ${route.path}`,
          permission: route.permission ?? 'none',
          subject: idOf(request.params) ?? `caller:${name}`,
        })
        return { kind: 'refused', status: 403, body: PERMISSION_REQUIRED }
      }
      return { kind: 'admitted', service: { actor: `caller:${name}`, scope }, caller: undefined }
    }
    case 'full':
      return admitPerson(needs, route, request)
    default:
      return verdict satisfies never
  }
}

const FULL: Service = { actor: 'service', scope: ALL_CONNECTIONS }

async function admitPerson(
  needs: AdmissionNeeds,
  route: Pick<Route, 'access'>,
  request: FastifyRequest,
): Promise<Admission> {
  if (route.access === 'service') return { kind: 'admitted', service: FULL, caller: undefined }
  const token = onlyHeader(request, 'x-session-token')
  const caller = token === undefined ? undefined : await needs.session(token)
  if (caller === undefined) return { kind: 'refused', status: 401, body: SIGN_IN_REQUIRED }
  if (route.access === 'admin' && caller.role !== 'admin')
    return { kind: 'refused', status: 403, body: ADMIN_REQUIRED }
  return { kind: 'admitted', service: FULL, caller }
}

/** @returns the value of a header that occurs once */
export function onlyHeader(request: FastifyRequest, name: string): string | undefined {
  const values = request.raw.headersDistinct[name]
  return values?.length === 1 ? values[0] : undefined
}

/** The id of the path, when it can be one: it is not validated yet. */
function idOf(params: unknown): string | undefined {
  const id = typeof params === 'object' && params !== null && 'id' in params ? params.id : undefined
  return typeof id === 'string' && /^[A-Za-z0-9_-]{1,64}$/.test(id) ? id : undefined
}
