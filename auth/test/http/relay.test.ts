/** WI-01 for the relay form: `X-MS-Signature`, hex HMAC-SHA256 of the raw body, and nothing else. */
import { createHash, createHmac } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import { openWorld, type World } from '../world.ts'
import { forget, stored } from './people.ts'
import { type Answer, ask } from './wire.ts'

const PATH = '/webhook/events/microsoft'
const BODY = '{"value": [{"changeType": "created", "resource": "me/messages/1"}],  "n": 1.0}'

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(() => world.close())
beforeEach(() => forget(world.db))

const sign = (body: string, secret = world.environment.MICROSOFT_WEBHOOK_SECRET ?? '') =>
  createHmac('sha256', secret).update(body).digest('hex')

const post = (
  body: string,
  signature: string | readonly string[] | undefined,
  port = world.publicPort,
): Promise<Answer> =>
  ask(port, {
    method: 'POST',
    path: PATH,
    body,
    headers: {
      'content-type': 'application/json',
      ...(signature === undefined ? {} : { 'x-ms-signature': signature }),
    },
  })

describe('WI-01 relay', () => {
  test('WI-01 a rightly signed body is answered 200 {"status":"ok"}, and its bytes are stored as they came', async () => {
    const answer = await post(BODY, sign(BODY))
    expect(answer.status).toBe(200)
    expect(JSON.parse(answer.text)).toEqual({ status: 'ok' })
    const [row] = await world.db.rows<{ body: Buffer; body_sha256: Buffer }>(
      sql`select body, body_sha256 from auth.notifications`,
    )
    expect(row?.body.toString()).toBe(BODY)
    expect(row?.body_sha256.equals(createHash('sha256').update(BODY).digest())).toBe(true)
    const [event] = await world.db.rows<{ connection_id: string | null; owner_id: string | null }>(
      sql`select connection_id, owner_id from auth.events`,
    )
    expect(event).toEqual({ connection_id: null, owner_id: null })
  })

  test('WI-01 the same body again is one event', async () => {
    await post(BODY, sign(BODY))
    expect((await post(BODY, sign(BODY))).status).toBe(200)
    expect((await stored(world.db)).events).toBe(1)
  })

  const forgeries: [string, () => [body: string, signature: string | readonly string[] | undefined]][] = [
    ['no signature', () => [BODY, undefined]],
    ['an empty signature', () => [BODY, '']],
    ['a wrong signature', () => [BODY, 'a'.repeat(64)]],
    ["another secret's signature", () => [BODY, sign(BODY, 'another secret of more than 32 bytes')]],
    ['a signature under the empty secret', () => [BODY, sign(BODY, '')]],
    ['a short signature', () => [BODY, sign(BODY).slice(0, 62)]],
    ['half a digit too few', () => [BODY, sign(BODY).slice(0, 63)]],
    ['a signature that is too long', () => [BODY, `${sign(BODY)}00`]],
    ['a signature in upper case', () => [BODY, sign(BODY).toUpperCase()]],
    ['a prefix before the signature', () => [BODY, `sha256=${sign(BODY)}`]],
    ['base64 instead of hex', () => [BODY, Buffer.from(sign(BODY), 'hex').toString('base64')]],
    ['two signatures in one header', () => [BODY, `${sign(BODY)}, ${sign(BODY)}`]],
    ['one byte changed', () => [BODY.replace('created', 'creates'), sign(BODY)]],
    ['one byte more', () => [`${BODY}\n`, sign(BODY)]],
    ['the same JSON written differently', () => [JSON.stringify(JSON.parse(BODY)), sign(BODY)]],
    ['the signature of an empty body', () => [BODY, sign('')]],
  ]
  test.each(forgeries)('WI-01 %s: 401, and nothing is stored', async (_, make) => {
    const [body, signature] = make()
    const answer = await post(body, signature)
    expect(answer.status).toBe(401)
    expect(answer.body).toHaveLength(0)
    expect(await stored(world.db)).toEqual({ notifications: 0, events: 0 })
  })

  test('WI-01 WI-11 two signatures, whatever they are: 400, and nothing is stored', async () => {
    for (const second of [sign(BODY), 'a'.repeat(64)]) {
      const answer = await post(BODY, [sign(BODY), second])
      expect(answer.status).toBe(400)
      expect(answer.body).toHaveLength(0)
    }
    expect(await stored(world.db)).toEqual({ notifications: 0, events: 0 })
  })

  test('WI-01 without its secret the relay form is off: nothing is ever genuine', async () => {
    const off = await openWorld({ environment: { MICROSOFT_WEBHOOK_SECRET: undefined } })
    try {
      for (const signature of [sign(BODY), sign(BODY, ''), sign(BODY, 'undefined'), ''])
        expect((await post(BODY, signature, off.publicPort)).status).toBe(401)
      expect(await stored(off.db)).toEqual({ notifications: 0, events: 0 })
    } finally {
      await off.close()
    }
  })
})
