/**
 * Google's public documents: discovery and keys (protocols/google.md §1.1), all under one origin here.
 */
import type { FastifyInstance } from 'fastify'
import type { GoogleWorld } from './world.ts'

export function serveDiscovery(server: FastifyInstance, world: GoogleWorld): void {
  server.get('/.well-known/openid-configuration', async (_request, reply) => {
    const { origin } = world
    return reply.header('cache-control', 'public, max-age=3600').send({
      issuer: origin,
      authorization_endpoint: `${origin}/o/oauth2/v2/auth`,
      token_endpoint: `${origin}/token`,
      userinfo_endpoint: `${origin}/v1/userinfo`,
      revocation_endpoint: `${origin}/revoke`,
      jwks_uri: `${origin}/oauth2/v3/certs`,
      response_types_supported: ['code'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['RS256'],
      scopes_supported: ['openid', 'email', 'profile'],
      token_endpoint_auth_methods_supported: ['client_secret_post', 'client_secret_basic'],
      claims_supported: [
        'aud',
        'email',
        'email_verified',
        'exp',
        'family_name',
        'given_name',
        'iat',
        'iss',
        'name',
        'sub',
      ],
      code_challenge_methods_supported: ['plain', 'S256'],
      grant_types_supported: ['authorization_code', 'refresh_token'],
      ...(world.faults.declareIss ? { authorization_response_iss_parameter_supported: true } : {}),
    })
  })

  server.get('/oauth2/v3/certs', async (_request, reply) => {
    if (world.faults.jwksDown) return reply.code(503).send({ error: 'temporarily_unavailable' })
    const keys = world.keys.published().map((key) => ({ ...key.jwk, alg: 'RS256' }))
    return reply
      .header('cache-control', 'public, max-age=19000, must-revalidate, no-transform')
      .send({ keys })
  })
}
