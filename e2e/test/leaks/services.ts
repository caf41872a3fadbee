/**
 * Services with credentials of their own: they read tokens, call the proxy, and are refused in every way. The answers
 * that carry a token by their purpose are left out of the search, and no others.
 */
import { createCaller, rotateCaller } from '../../../auth/src/callers/callers.ts'
import { openPool } from '../../../auth/src/db/pool.ts'
import { openLog } from '../../../auth/src/platform/log.ts'
import type { Person, Scene } from './person.ts'

export interface ServiceCalls {
  readonly tokens: number
  readonly proxied: number
  readonly refused: number
}

const CARRIES = { carries: 'a secret' } as const

export async function playServices(scene: Scene, person: Person): Promise<ServiceCalls> {
  const { stack, trail } = scene
  const [full, narrow, rotated] = await makeCallers(scene)
  const api = (token: string, path: string, more: RequestInit & { carries?: 'a secret' } = {}) =>
    trail.ask(`${stack.urls.internal}/internal/${path}`, {
      ...more,
      headers: { 'x-service-token': token, 'content-type': 'application/json' },
    })
  const list = JSON.parse((await api(full, 'connections')).text) as {
    items: { id: string; provider: string; status: string; user_id: string }[]
  }
  const mine = list.items.filter(
    ({ user_id, status }) => user_id === person.userId && ['active', 'partial'].includes(status),
  )
  const count = { tokens: 0, proxied: 0, refused: 0 }
  const PATHS: Readonly<Record<string, string>> = {
    microsoft: 'graph/v1.0/me',
    google: 'gmail/users/me/profile',
  }
  for (const { id, provider, user_id } of mine) {
    const token = { method: 'POST', body: '{"purpose":"the leak test"}' }
    const carrying = [
      await api(full, `connections/${id}/token`, { ...token, ...CARRIES }),
      await api(rotated, `oauth/token?user_id=${user_id}&provider=${provider}`, CARRIES),
    ]
    count.tokens += carrying.filter(({ status }) => status === 200).length
    const path = PATHS[provider] ?? ''
    const proxied = [
      await api(full, `connections/${id}/proxy/${path}`),
      await api(full, `connections/${id}/proxy/${path}?access_token=${trail.made('a caller’s own token')}`),
    ]
    count.proxied += proxied.filter(({ status }) => status === 200).length
    const refused = [
      await api(full, `connections/${id}/proxy/${path.split('/')[0]}/..%2f..%2ftoken`),
      await api(full, `connections/${id}/proxy/unknown/x`),
      await api(narrow, `connections/${id}/proxy/${path}`),
      await api(narrow, `connections/${id}/token`, token),
      await api(trail.made('a guessed token'), `connections/${id}/token`, token),
      await api(`fcs_${trail.made('a guessed token').slice(-43)}`, `connections/${id}/token`, token),
      await api(full, `connections/${id}/token`, {
        method: 'POST',
        body: `{"purpose":"${trail.made('purpose')}="}`,
      }),
    ]
    count.refused += refused.filter(({ status }) => status >= 400).length
  }
  return count
}

/** One that may everything, one that may nothing with these connections, and one after its rotation. */
async function makeCallers({ stack, trail }: Scene): Promise<[string, string, string]> {
  const log = openLog({ write: () => {} })
  const pool = { name: 'work', size: 1, connectMs: 5_000, statementMs: 5_000, log } as const
  const db = openPool({ url: stack.database.url, ...pool })
  try {
    const permissions = ['tokens:read', 'connections:read', 'proxy'] as const
    const nothing = { kind: 'limited', providers: [], users: [], connections: [] } as const
    const tokenOf = async (name: string, scope: typeof nothing | { kind: 'all' }) => {
      const made = await createCaller({ db }, { name, permissions, scope }, 'admin-cli')
      if (made.kind !== 'created') throw new Error(`the caller ${name} was not made`)
      return trail.secret('caller token', made.token)
    }
    const full = await tokenOf('full', { kind: 'all' })
    const narrow = await tokenOf('narrow', nothing)
    await tokenOf('rotated', { kind: 'all' })
    const rotation = await rotateCaller({ db }, { name: 'rotated', overlapSeconds: 60 }, 'admin-cli')
    if (rotation.kind !== 'rotated') throw new Error('the caller was not rotated')
    return [full, narrow, trail.secret('caller token', rotation.token)]
  } finally {
    await db.close()
  }
}
