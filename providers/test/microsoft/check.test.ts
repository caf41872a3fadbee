/** What Graph answers to the cheap question whether something changed (protocols/microsoft.md §4). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { microsoft } from '../../src/microsoft/index.ts'
import type { Provider } from '../../src/provider.ts'
import { Secret } from '../../src/secret.ts'
import { openWith } from '../conformance.ts'
import { startClock } from '../loopback.ts'
import { type MicrosoftWorld, startMicrosoft } from './world.ts'

const DELTA = '/v1.0/me/drive/root/delta'
const MAIL = '/v1.0/me/messages'

describe('a check of Graph', () => {
  let world: MicrosoftWorld
  let provider: Provider
  beforeAll(async () => {
    const clock = startClock()
    world = await startMicrosoft(clock)
    provider = openWith(microsoft, world.environment, clock)
  })
  afterAll(() => world.close())

  const check = (resource: string, cursor?: string) =>
    provider.subscriptions.check({
      resource,
      cursor,
      accessToken: new Secret('the-access-token'),
      signal: AbortSignal.timeout(5_000),
    })
  const newest = (...times: string[]) =>
    world.server.reply(MAIL, {
      status: 200,
      body: { value: times.map((lastModifiedDateTime, n) => ({ id: `m${n}`, lastModifiedDateTime })) },
    })
  const page = (items: object[], token?: string) => ({
    status: 200,
    body: {
      value: items,
      ...(token !== undefined && { '@odata.deltaLink': `https://graph.example${DELTA}?token=${token}` }),
      ...(token === undefined && { '@odata.nextLink': `https://graph.example${DELTA}?skiptoken=x` }),
    },
  })
  const TEN = '2026-11-01T10:00:00.000Z'
  const ELEVEN = '2026-11-01T11:00:00.000Z'

  it('mail: counts from the time of its newest item, and not backwards when that is deleted', async () => {
    newest(TEN)
    expect(await check('me/messages')).toEqual({ kind: 'checked', changed: false, cursor: TEN })
    newest(ELEVEN)
    expect(await check('me/messages', TEN)).toEqual({
      kind: 'checked',
      changed: true,
      cursor: ELEVEN,
      newestAt: new Date(ELEVEN),
    })
    newest(TEN)
    expect(await check('me/messages', ELEVEN)).toEqual({ kind: 'checked', changed: false, cursor: ELEVEN })
    newest()
    expect(await check('me/messages', ELEVEN)).toEqual({ kind: 'checked', changed: false, cursor: ELEVEN })
    newest('yesterday')
    expect(await check('me/messages', ELEVEN)).toMatchObject({ kind: 'failed' })
  })

  it('a drive: counts from its delta token, and from the latest where there are more pages', async () => {
    world.server.reply(DELTA, page([], '1'))
    expect(await check('me/drive/root')).toEqual({ kind: 'checked', changed: false, cursor: '1' })
    const changed = [{ id: 'f', lastModifiedDateTime: TEN }]
    world.server.reply(DELTA, page(changed, '2'))
    const told = { kind: 'checked', changed: true, newestAt: new Date(TEN) }
    expect(await check('me/drive/root', '1')).toEqual({ ...told, cursor: '2' })
    world.server.reply(DELTA, page(changed), page([], '9'))
    expect(await check('me/drive/root', '2')).toEqual({ ...told, cursor: '9' })
  })

  it('a drive whose token is too old: begins anew, and says that nothing is known of the time between', async () => {
    const gone = { status: 410, body: { error: { code: 'resyncChangesApplyDifferences' } } }
    world.server.reply(DELTA, gone, page([], '9'))
    expect(await check('me/drive/root', '1')).toEqual({
      kind: 'checked',
      changed: false,
      cursor: '9',
      lost: true,
    })
    world.server.reply(DELTA, gone)
    expect(await check('me/drive/root', '1')).toMatchObject({ kind: 'failed' })
  })
})
