import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { completeFlow } from '../../src/connections/complete.ts'
import { sql } from '../../src/db/sql.ts'
import { UNAVAILABLE } from '../../src/http/callback-page.ts'
import { openCallbackDoor } from '../../src/http/callback-route.ts'
import { bindingOf, CONSOLE, type Ground, openGround } from './ground.ts'
import { HOSTILE_VALUES } from './hostile-values.ts'

describe('the callback', () => {
  let g: Ground
  let alice: string
  beforeAll(async () => {
    g = await openGround()
  })
  afterAll(() => g.close())
  beforeEach(async () => {
    await g.clear()
    alice = await g.user('alice@example.com')
  })

  const tokenRequests = () =>
    g.google.exchanged.length + g.microsoft.exchanged.length + g.strict.exchanged.length
  const complete = (ticket: string) =>
    completeFlow(g.needs, { ticket, userId: alice, sessionBinding: bindingOf(`session of ${alice}`) })
  const ticketOf = (location: string | undefined) => location?.split('#ticket=')[1] ?? ''

  test('it parks the code sealed, makes a one-time ticket in the fragment, and exchanges nothing', async () => {
    for (const provider of ['google', 'microsoft']) {
      const { state, flowId } = await g.begin(alice, provider)
      const answer = await g.callback(provider, [
        ['code', 'the-code'],
        ['state', state],
      ])
      expect(answer.status).toBe(303)
      expect(answer.headers.location).toMatch(
        new RegExp(`^${CONSOLE}/auth/success\\?provider=${provider}#ticket=[A-Za-z0-9_-]{43}$`),
      )
      expect(answer.headers).toMatchObject({
        'cache-control': 'no-store',
        'referrer-policy': 'no-referrer',
        'x-content-type-options': 'nosniff',
      })
      expect(answer.headers['content-security-policy']).toContain("default-src 'none'")
      expect(answer.body).toBe('')
      expect((await g.flow(flowId)).status).toBe('returned')
      const rows = await g.db.rows<{ text: string }>(
        sql`select to_jsonb(s)::text "text" from auth.oauth_states s`,
      )
      expect(rows.map(({ text }) => text).join()).not.toContain('the-code')
      expect(rows.map(({ text }) => text).join()).not.toContain(ticketOf(answer.headers.location))
    }
    expect(tokenRequests()).toBe(0)
  })

  test('§5.1 a state that is unknown, expired or used gets the fixed 400 page', async () => {
    const { state } = await g.begin(alice)
    expect(
      (
        await g.callback('google', [
          ['code', 'c'],
          ['state', 'x'.repeat(43)],
        ])
      ).status,
    ).toBe(400)
    expect(
      (
        await g.callback('google', [
          ['code', 'c'],
          ['state', 'short'],
        ])
      ).status,
    ).toBe(400)
    await g.wait(601)
    expect(
      (
        await g.callback('google', [
          ['code', 'c'],
          ['state', state],
        ])
      ).status,
    ).toBe(400)
    const again = await g.begin(alice)
    expect(
      (
        await g.callback('google', [
          ['code', 'c'],
          ['state', again.state],
        ])
      ).status,
    ).toBe(303)
    const used = await g.callback('google', [
      ['code', 'c'],
      ['state', again.state],
    ])
    expect(used.status).toBe(400)
    expect(used.headers).toMatchObject({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' })
    expect((await g.flow(again.flowId)).status).toBe('returned')
  })

  test('OA-05 a microsoft state at the google callback burns the flow, and the other way round', async () => {
    const microsoft = await g.begin(alice, 'microsoft')
    expect(
      (
        await g.callback('google', [
          ['code', 'c'],
          ['state', microsoft.state],
        ])
      ).status,
    ).toBe(400)
    expect(await g.flow(microsoft.flowId)).toEqual({
      status: 'rejected',
      reason: 'foreign_path',
      wiped: true,
    })
    expect(
      (
        await g.callback('microsoft', [
          ['code', 'c'],
          ['state', microsoft.state],
        ])
      ).status,
    ).toBe(400)

    const google = await g.begin(alice, 'google')
    expect(
      (
        await g.callback('microsoft', [
          ['code', 'c'],
          ['state', google.state],
        ])
      ).status,
    ).toBe(400)
    expect(await g.flow(google.flowId)).toEqual({ status: 'rejected', reason: 'foreign_path', wiped: true })
    expect(tokenRequests()).toBe(0)
    expect(await g.audited('oauth.flow_burned')).toHaveLength(2)
  })

  test('OA-05 an error at another path burns the flow as well', async () => {
    const flow = await g.begin(alice, 'microsoft')
    expect(
      (
        await g.callback('google', [
          ['error', 'access_denied'],
          ['state', flow.state],
        ])
      ).status,
    ).toBe(400)
    expect((await g.flow(flow.flowId)).status).toBe('rejected')
  })

  test('OA-06 a wrong iss burns the flow; its absence too where the provider declares it', async () => {
    for (const parameters of [[['code', 'c']], [['error', 'access_denied']]] as const) {
      const flow = await g.begin(alice, 'google')
      const answer = await g.callback('google', [
        ...parameters,
        ['state', flow.state],
        ['iss', 'https://evil.example'],
      ])
      expect(answer.status).toBe(400)
      expect(await g.flow(flow.flowId)).toEqual({ status: 'rejected', reason: 'wrong_issuer', wiped: true })
    }
    const missing = await g.begin(alice, 'strict')
    expect(
      (
        await g.callback('strict', [
          ['code', 'c'],
          ['state', missing.state],
        ])
      ).status,
    ).toBe(400)
    expect(await g.flow(missing.flowId)).toEqual({ status: 'rejected', reason: 'wrong_issuer', wiped: true })
    const present = await g.begin(alice, 'strict')
    const iss = g.strict.oauth.issuer
    expect(
      (
        await g.callback('strict', [
          ['code', 'c'],
          ['state', present.state],
          ['iss', iss],
        ])
      ).status,
    ).toBe(303)
    const undeclared = await g.begin(alice, 'google')
    expect(
      (
        await g.callback('google', [
          ['code', 'c'],
          ['state', undeclared.state],
        ])
      ).status,
    ).toBe(303)
    expect(tokenRequests()).toBe(0)
  })

  test('OA-08 of fifty parallel callbacks exactly one is parked, and one token request is made', async () => {
    const { state, flowId } = await g.begin(alice)
    const answers = await Promise.all(
      Array.from({ length: 50 }, () =>
        g.callback('google', [
          ['code', 'once'],
          ['state', state],
        ]),
      ),
    )
    const parked = answers.filter(({ status }) => status === 303)
    expect(parked).toHaveLength(1)
    expect(answers.filter(({ status }) => status === 400)).toHaveLength(49)
    expect((await g.flow(flowId)).status).toBe('returned')
    const outcome = await complete(ticketOf(parked[0]?.headers.location))
    expect(outcome.kind).toBe('connected')
    expect(g.google.exchanged).toEqual(['once'])
  })

  test('§5.1 an error of the provider ends a live flow with a reason of ours', async () => {
    const denied = await g.begin(alice)
    const answer = await g.callback('google', [
      ['error', 'access_denied'],
      ['state', denied.state],
    ])
    expect(answer.status).toBe(303)
    expect(answer.headers.location).toBe(`${CONSOLE}/auth/error?reason=access_denied`)
    expect(await g.flow(denied.flowId)).toEqual({ status: 'failed', reason: 'access_denied', wiped: true })
    // and only once
    expect(
      (
        await g.callback('google', [
          ['error', 'access_denied'],
          ['state', denied.state],
        ])
      ).status,
    ).toBe(400)
    const unknown = await g.callback('google', [
      ['error', 'access_denied'],
      ['state', 'y'.repeat(43)],
    ])
    expect(unknown.status).toBe(400)
  })

  test('OA-09 sixty hostile values never move the Location and never come back in an answer', async () => {
    expect(HOSTILE_VALUES.length).toBeGreaterThanOrEqual(60)
    for (const hostile of HOSTILE_VALUES) {
      const flow = await g.begin(alice, 'google')
      const attempts = [
        await g.callback('google', [
          ['error', hostile],
          ['error_description', hostile],
          ['state', 's'.repeat(43)],
        ]),
        await g.callback('google', [
          ['code', hostile],
          ['state', hostile],
          ['returnTo', hostile],
        ]),
        await g.callback('google', [
          ['error', 'access_denied'],
          ['error_description', hostile],
          ['error_uri', hostile],
          ['returnTo', hostile],
          ['state', flow.state],
        ]),
        await g.callback('microsoft', [
          ['error', hostile],
          ['state', hostile],
          ['iss', hostile],
        ]),
      ]
      const live = await g.begin(alice, 'google')
      attempts.push(
        await g.callback('google', [
          ['error', hostile],
          ['state', live.state],
        ]),
      )
      await g.callback('google', [
        ['error', 'x'],
        ['state', live.state],
      ])
      for (const { status, headers, body } of attempts) {
        expect([303, 400]).toContain(status)
        const location = headers.location
        expect(location === undefined).toBe(status !== 303)
        if (location !== undefined) {
          expect(new URL(location).origin).toBe(CONSOLE)
          expect(location).toMatch(/\/auth\/error\?reason=(access_denied|provider_error)$/)
        }
        expect(`${body}${JSON.stringify(headers)}`).not.toContain(hostile)
      }
    }
  })

  test('OA-12 duplicate or oversized parameters get 400 and leave the flow to the honest request', async () => {
    const big = 'a'.repeat(4097)
    for (const provider of ['google', 'microsoft']) {
      const { state, flowId } = await g.begin(alice, provider)
      const good: [string, string][] = [
        ['code', 'good'],
        ['state', state],
      ]
      const bad: [string, string][][] = [
        [...good, ['code', 'other']],
        [...good, ['code', 'good']],
        [['state', state], ...good],
        [...good, ['iss', 'a'], ['iss', 'a']],
        [
          ['error', 'x'],
          ['error', 'y'],
          ['state', state],
        ],
        [
          ['code', big],
          ['state', state],
        ],
        [...good, ['iss', big]],
        [
          ['error', big],
          ['state', state],
        ],
        [
          ['code', 'good'],
          ['state', big],
        ],
        [...good, ['error', 'access_denied']],
        [['state', state]],
        [
          ['code', ''],
          ['state', state],
        ],
        [
          ['code', 'line\nbreak'],
          ['state', state],
        ],
        [
          ['error', 'quote"'],
          ['state', state],
        ],
        [['code', 'good']],
      ]
      for (const parameters of bad) {
        expect((await g.callback(provider, parameters)).status, JSON.stringify(parameters).slice(0, 80)).toBe(
          400,
        )
        expect((await g.flow(flowId)).status).toBe('created')
      }
      expect((await g.callback(provider, good)).status).toBe(303)
    }
  })

  test('OA-12 the method must fit, parameters have one source, and a body is a form of at most 8 KiB', async () => {
    const { state, flowId } = await g.begin(alice, 'microsoft')
    const google = await g.begin(alice, 'google')
    const form = (text: string, more: object = {}) => ({
      provider: 'microsoft',
      method: 'POST',
      query: [] as [string, string][],
      contentType: 'application/x-www-form-urlencoded; charset=utf-8',
      body: Buffer.from(text),
      ...more,
    })
    const good = `code=c&state=${state}`
    const query: [string, string][] = [
      ['code', 'c'],
      ['state', state],
    ]
    const refused = [
      form('', { method: 'GET', query, contentType: undefined }),
      form(good, { query }),
      form(good, { query: [['x', '1']] }),
      form('', { query }),
      form(good, { contentType: 'text/plain' }),
      form(good, { contentType: undefined }),
      form(good, { contentType: 'application/json' }),
      form(good, { method: 'PUT' }),
      form(`${good}&pad=${'p'.repeat(8 * 1024)}`),
      form(`code=c&state=${google.state}`, { provider: 'google' }),
      form('x=1', {
        provider: 'google',
        method: 'GET',
        query: [
          ['code', 'c'],
          ['state', google.state],
        ],
      }),
      form('', {
        provider: 'google',
        method: 'HEAD',
        query: [
          ['code', 'c'],
          ['state', google.state],
        ],
      }),
    ]
    for (const request of refused) expect((await g.door(request)).status).toBe(400)
    expect((await g.flow(flowId)).status).toBe('created')
    expect((await g.flow(google.flowId)).status).toBe('created')
    expect((await g.door(form(good))).status).toBe(303)
  })

  test('an unknown provider is 404, and a database that is away is 503 without a word about it', async () => {
    expect(
      (
        await g.callback(
          'nobody',
          [
            ['code', 'c'],
            ['state', 's'.repeat(43)],
          ],
          false,
        )
      ).status,
    ).toBe(404)
    const away = openCallbackDoor({
      ...g.needs,
      db: { ...g.db, one: () => Promise.reject(new Error('connect ECONNREFUSED secret-host')) },
    })
    const answer = await away({
      provider: 'google',
      method: 'GET',
      query: [
        ['code', 'c'],
        ['state', 's'.repeat(43)],
      ],
      contentType: undefined,
      body: Buffer.alloc(0),
    })
    expect(answer).toEqual(UNAVAILABLE)
    expect(g.lines.join()).not.toContain('secret-host')
  })
})
