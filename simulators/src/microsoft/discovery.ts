/**
 * Entra's public documents: discovery per tenant segment and the keys (protocols/microsoft.md §1.1). As in the
 * captures, neither PKCE, nor revocation, nor the `iss` of the callback is declared.
 */
import type { FastifyInstance } from 'fastify'
import { personalTenant } from '../accounts.ts'
import { failures, stsErrorBody } from './sts-error.ts'
import { findTenant, type MicrosoftWorld, type Tenant, templateIssuer } from './world.ts'

export function serveDiscovery(server: FastifyInstance, world: MicrosoftWorld): void {
  server.get<{ Params: { tenant: string } }>(
    '/:tenant/v2.0/.well-known/openid-configuration',
    async (request, reply) => {
      const tenant = findTenant(request.params.tenant)
      if (tenant === null) return reply.code(400).send(unknownTenant(world, request.params.tenant))
      return reply
        .header('cache-control', 'max-age=86400, private')
        .header('access-control-allow-origin', '*')
        .send(discoveryDocument(world, tenant))
    },
  )
  for (const path of ['/:tenant/discovery/v2.0/keys', '/:tenant/discovery/keys'])
    serveKeys(server, world, path)
}

/** In two places: tokens of both versions are signed with the same keys. */
function serveKeys(server: FastifyInstance, world: MicrosoftWorld, path: string): void {
  server.get<{ Params: { tenant: string } }>(path, async (request, reply) => {
    const tenant = findTenant(request.params.tenant)
    if (tenant === null) return reply.code(400).send(unknownTenant(world, request.params.tenant))
    if (world.faults.jwksDown) return reply.code(503).send({ error: 'temporarily_unavailable' })
    const keys = world.keys.published().map((key) => {
      const issuer = key.issuer === templateIssuer ? templateIssuer : personalTenant
      return tenant.tid === null ? { ...key.jwk, issuer: `${world.origin}/${issuer}/v2.0` } : key.jwk
    })
    return reply.header('cache-control', 'max-age=86400, private').send({ keys })
  })
}

function unknownTenant(world: MicrosoftWorld, segment: string): unknown {
  return stsErrorBody(failures.unknownTenant(segment), world.now())
}

function discoveryDocument(world: MicrosoftWorld, tenant: Tenant): Record<string, unknown> {
  const base = `${world.origin}/${tenant.segment}`
  return {
    token_endpoint: `${base}/oauth2/v2.0/token`,
    token_endpoint_auth_methods_supported: ['client_secret_post', 'client_secret_basic'],
    jwks_uri: `${base}/discovery/v2.0/keys`,
    response_modes_supported: ['query', 'fragment', 'form_post'],
    subject_types_supported: ['pairwise'],
    id_token_signing_alg_values_supported: ['RS256'],
    response_types_supported: ['code'],
    scopes_supported: ['openid', 'profile', 'email', 'offline_access'],
    issuer: `${world.origin}/${tenant.tid ?? templateIssuer}/v2.0`,
    request_uri_parameter_supported: false,
    authorization_endpoint: `${base}/oauth2/v2.0/authorize`,
    http_logout_supported: true,
    frontchannel_logout_supported: true,
    end_session_endpoint: `${base}/oauth2/v2.0/logout`,
    claims_supported: [
      'sub',
      'iss',
      'aud',
      'exp',
      'iat',
      'nonce',
      'preferred_username',
      'name',
      'tid',
      'ver',
      'email',
    ],
    tenant_region_scope: tenant.tid === null ? null : 'NA',
    cloud_instance_name: 'microsoftonline.com',
    cloud_graph_host_name: 'graph.windows.net',
    msgraph_host: 'graph.microsoft.com',
    rbac_url: 'https://pas.windows.net',
    ...(world.faults.declareIss ? { authorization_response_iss_parameter_supported: true } : {}),
  }
}
