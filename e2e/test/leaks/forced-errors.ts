/**
 * Errors of every kind, each with secrets in it: at the provider, at our doors, and in forged pushes.
 * Every function leaves the system as it found it and says how many errors it forced.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { consoleHeaders, control, type Person, type Scene, signIn } from './person.ts'

const JSON_TYPE = { 'content-type': 'application/json' }
const FORM_TYPE = { 'content-type': 'application/x-www-form-urlencoded' }

/** The providers' token endpoint, keys, id tokens and subscriptions in every way that can fail. */
export async function provokeProviders(scene: Scene, person: Person): Promise<number> {
  const { trail } = scene
  const told = () =>
    `AADSTS50000: ${trail.made('told by the provider')}\r\n at ${trail.made('told by the provider')}`
  const faults: object[] = [
    { tokenError: { status: 500, body: { error: 'server_error', error_description: told() } } },
    { tokenError: { status: 400, body: { error: 'invalid_grant', error_description: told() } } },
    { tokenError: { status: 401, body: { error: 'invalid_client', error_description: told() } } },
    { tokenError: { status: 200, body: `<html>${told()}</html>` } },
    { tokenError: { status: 200, body: { access_token: trail.made('access token'), token_type: 'bearer' } } },
    {
      tokenError: {
        status: 302,
        body: {},
        headers: { location: `http://127.0.0.1:9/?${trail.made('told by the provider')}` },
      },
    },
    { tokenDrop: true },
    { down: '503' },
    { down: 'refuse' },
    { idToken: { nonce: 'another' } },
    { idToken: { nonce: null } },
    { idToken: { aud: 'another' } },
    { idToken: { iss: 'https://another.invalid' } },
    { idToken: { exp: -4_000 } },
    { idToken: { alg: 'none' } },
    { idToken: { alg: 'HS256' } },
    { idToken: { foreignKey: true } },
  ]
  const accounts = { microsoft: 'bruno@contoso.test', google: 'hugo@flow.test' }
  let failed = 0
  for (const [provider, account] of Object.entries(accounts)) {
    for (const fault of faults) {
      const { ticket } = await person.park(provider, account)
      await control(scene.stack, '/faults', { provider, ...fault })
      const { status } = await person.console('POST', '/bff/auth/finish', { ticket })
      await control(scene.stack, '/reset', {})
      if (status >= 400) failed += 1
    }
    const denied = await person.begin(provider, account, { deny: true })
    if (denied !== undefined && (await person.callBack(denied)).status === 303) failed += 1
    // connected, but no subscription can be made
    const body = { error: { code: 'InvalidRequest', message: told() } }
    await control(scene.stack, '/faults', { provider, subscriptionError: { status: 400, body } })
    await person.connect(provider, account)
    await sleep(1_500)
    await control(scene.stack, '/reset', {})
  }
  return failed
}

/** Tickets and callbacks that are not right. */
export async function provokeFlows(scene: Scene, person: Person): Promise<number> {
  const { stack, trail } = scene
  const finish = (ticket: string, headers: Record<string, string> = {}) =>
    trail.ask(`${stack.urls.console}/bff/auth/finish`, {
      method: 'POST',
      headers: { ...consoleHeaders(stack), ...headers },
      body: JSON.stringify({ ticket }),
    })
  const callback = (path: string, init: RequestInit = {}) =>
    trail.ask(`${stack.urls.webhooks}/webhook/oauth/${path}`, init)
  const code = () => trail.made('code')
  const state = () => trail.made('state')
  const stranger = await signIn(scene, 'stranger@example.com', 'user')
  const replies = [
    await finish(trail.made('ticket'), { cookie: person.cookie }),
    await finish((await person.park('microsoft', 'adele@contoso.test')).ticket),
    await finish((await person.park('google', 'gita@flow.test')).ticket, { cookie: stranger.cookie }),
    await callback(`microsoft/callback?code=${code()}&state=${state()}`),
    await callback(`microsoft/callback?code=${code()}&code=${code()}&state=${state()}`),
    await callback(
      `google/callback?error=${trail.made('error')}&error_description=${code()}&state=${state()}`,
    ),
    await callback(`microsoft/callback?code=${code()}`, {
      method: 'POST',
      headers: FORM_TYPE,
      body: `state=${state()}`,
    }),
    await callback('microsoft/callback', { method: 'POST', headers: JSON_TYPE, body: `{"code":"${code()}` }),
    await callback('google/callback', {
      method: 'POST',
      headers: FORM_TYPE,
      body: `code=${code()}`.repeat(500),
    }),
    await callback(`google/callback?code=${code()}`, { method: 'PUT' }),
    await callback(`unknown/callback?code=${code()}&state=${state()}`),
    await callback(`microsoft/callback/${code()}`),
  ]
  const live = await person.begin('microsoft', 'carla@fabrikam.test')
  const body = live?.body ?? ''
  replies.push(await callback('google/callback', { method: 'POST', headers: FORM_TYPE, body }))
  const { ticket } = await person.park('google', 'gita@flow.test')
  await finish(ticket, { cookie: person.cookie })
  replies.push(await finish(ticket, { cookie: stranger.cookie }))
  return replies.filter(({ status }) => status >= 400).length
}

/** Bad JSON, oversized bodies, wrong tokens and unknown paths at every door, with secrets in them. */
export async function provokeDoors(scene: Scene): Promise<number> {
  const { stack, trail } = scene
  const { console: consoleUrl, webhooks, internal } = stack.urls
  const made = () => trail.made('sent to a door')
  const token = { 'x-service-token': stack.secrets.serviceSecret }
  const post = (url: string, headers: Record<string, string>, body: string) =>
    trail.ask(url, { method: 'POST', headers, body })
  const large = (bytes: number) => `{"a":"${made().repeat(Math.ceil(bytes / 50))}"}`
  const replies = []
  for (const path of ['/bff/session', '/bff/auth/finish', '/bff/auth/connect/microsoft']) {
    const headers = { ...consoleHeaders(stack), cookie: `__Host-session=${made()}; session=${made()}` }
    replies.push(await post(`${consoleUrl}${path}`, headers, `{"token":"${made()}",`))
    replies.push(
      await post(`${consoleUrl}${path}`, headers, JSON.stringify({ token: [made()], [made()]: 1 })),
    )
    replies.push(await post(`${consoleUrl}${path}`, headers, large(70_000)))
    replies.push(
      await post(`${consoleUrl}${path}`, { ...headers, origin: `https://${made()}.invalid` }, '{}'),
    )
    replies.push(await post(`${consoleUrl}${path}`, { ...headers, 'content-type': 'text/plain' }, made()))
  }
  replies.push(
    await post(
      `${consoleUrl}/bff/session`,
      consoleHeaders(stack),
      JSON.stringify({ token: made().slice(7) }),
    ),
  )
  replies.push(await trail.ask(`${consoleUrl}/bff/${made()}?token=${made()}`))
  for (const path of [
    '/internal/oauth/create-state',
    '/internal/oauth/complete',
    '/internal/sessions',
    '/internal/signin-links',
  ]) {
    replies.push(await post(`${internal}${path}`, { ...JSON_TYPE, ...token }, `{"state":"${made()}`))
    replies.push(
      await post(
        `${internal}${path}`,
        { ...JSON_TYPE, ...token },
        JSON.stringify({ state: [made()], ticket: 7, [made()]: made() }),
      ),
    )
    replies.push(await post(`${internal}${path}`, { ...JSON_TYPE, ...token }, large(1_200_000)))
  }
  replies.push(await post(`${internal}/internal/sessions`, { ...JSON_TYPE, 'x-service-token': made() }, '{}'))
  replies.push(
    await post(`${internal}/internal/sessions`, { 'content-type': 'text/plain', ...token }, made()),
  )
  replies.push(
    await post(
      `${internal}/internal/sessions`,
      { ...JSON_TYPE, ...token },
      JSON.stringify({ signin_token: made() }),
    ),
  )
  replies.push(
    await post(
      `${internal}/internal/sessions`,
      { ...JSON_TYPE, ...token },
      JSON.stringify({ platform_jwt: `${made()}.${made()}.${made()}` }),
    ),
  )
  replies.push(
    await post(
      `${internal}/internal/oauth/complete`,
      { ...JSON_TYPE, ...token },
      JSON.stringify({ ticket: made() }),
    ),
  )
  replies.push(await trail.ask(`${internal}/internal/${made()}?token=${made()}`, { headers: token }))
  for (const path of [`microsoft/${made()}`, 'microsoft', 'google', made()]) {
    const url = `${webhooks}/webhook/events/${path}`
    replies.push(
      await post(url, { ...JSON_TYPE, authorization: `Bearer ${made()}` }, `{"clientState":"${made()}`),
    )
    replies.push(
      await post(
        url,
        { ...JSON_TYPE, 'x-ms-signature': made() },
        JSON.stringify({ value: [{ clientState: made() }] }),
      ),
    )
    replies.push(await post(url, JSON_TYPE, large(1_200_000)))
    replies.push(await post(`${url}?validationToken=${made()}`, JSON_TYPE, ''))
  }
  return replies.filter(({ status }) => status >= 400).length
}

/** Forged pushes of both providers, judged by all that a push is proven with. */
export async function provokeForgeries(scene: Scene): Promise<number> {
  const microsoft = ['clientState', 'noClientState', 'unknownSubscription', 'tenant']
  const google = [
    'audience',
    'email',
    'unverified',
    'expired',
    'issuer',
    'key',
    'kid',
    'algNone',
    'HS256',
    'noHeader',
    'subscription',
  ]
  for (const forge of microsoft)
    await control(scene.stack, '/push', { provider: 'microsoft', account: 'adele@contoso.test', forge })
  for (const forge of google)
    await control(scene.stack, '/push', { provider: 'google', account: 'gita@flow.test', forge })
  return microsoft.length + google.length
}
