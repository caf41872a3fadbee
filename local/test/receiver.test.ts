import { request as httpRequest } from 'node:http'
import { Webhook } from 'standardwebhooks'
import { afterEach, describe, expect, it } from 'vitest'
import { type Receiver, type ReceiverOptions, startReceiver } from '../src/receiver.ts'

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`
const event = JSON.stringify({
  type: 'ca.flovify.mail.mailbox.v1.notified',
  provider: 'google',
  data: { subject: '<script>alert("x")</script>' },
})

let receiver: Receiver | undefined
afterEach(async () => {
  await receiver?.close()
  receiver = undefined
})

async function open(options: Partial<ReceiverOptions> = {}): Promise<Receiver> {
  receiver = await startReceiver({ secret: SECRET, ...options })
  return receiver
}

function signed(id: string, body = event, secret = SECRET, at = new Date()): RequestInit {
  const headers = {
    'content-type': 'application/cloudevents+json',
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
    'webhook-signature': new Webhook(secret).sign(id, at, body),
  }
  return { method: 'POST', body, headers }
}

describe('the receiver', () => {
  it('DO-04 accepts a signed delivery and records what it was', async () => {
    const { hookUrl, received, url } = await open()
    expect((await fetch(hookUrl, signed('evt_1'))).status).toBe(204)
    expect((await fetch(hookUrl, signed('evt_1'))).status).toBe(204)
    expect(received()).toHaveLength(2)
    expect(received()[1]).toMatchObject({
      webhookId: 'evt_1',
      verified: true,
      type: 'ca.flovify.mail.mailbox.v1.notified',
      provider: 'google',
      attempt: 2,
      body: event,
    })
    expect(await (await fetch(`${url}received`)).json()).toHaveLength(2)
  })

  it.each([
    ['another secret', signed('evt_1', event, `whsec_${Buffer.alloc(32, 8).toString('base64')}`)],
    ['a changed body', { ...signed('evt_1'), body: event.replace('google', 'gooole') }],
    ['an old timestamp', signed('evt_1', event, SECRET, new Date(Date.now() - 3_600_000))],
    ['no signature', { method: 'POST', body: event }],
  ])('DO-04 refuses %s with 400', async (_, init) => {
    const { hookUrl, received } = await open()
    expect((await fetch(hookUrl, init)).status).toBe(400)
    expect(received()[0]?.verified).toBe(false)
    expect(received()[0]?.reason).toBeTruthy()
  })

  it('answers with the statuses that a test asks for', async () => {
    const { hookUrl } = await open({ answerStatus: ({ attempt }) => (attempt < 3 ? 503 : 200) })
    const statuses = []
    for (let i = 0; i < 3; i++) statuses.push((await fetch(hookUrl, signed('evt_1'))).status)
    expect(statuses).toEqual([503, 503, 200])
  })

  it('keeps only as many results as asked', async () => {
    const { hookUrl, received } = await open({ keep: 2 })
    for (const id of ['evt_1', 'evt_2', 'evt_3']) await fetch(hookUrl, signed(id))
    expect(received().map(({ webhookId }) => webhookId)).toEqual(['evt_2', 'evt_3'])
  })

  it('shows a payload as text under a policy that forbids scripts', async () => {
    const { hookUrl, url } = await open()
    await fetch(hookUrl, signed('<img src=x>'))
    const page = await fetch(url)
    const html = await page.text()
    expect(html).not.toContain('<script')
    expect(html).not.toContain('<img')
    expect(html).toContain('&lt;img src=x&gt;')
    const policy = page.headers.get('content-security-policy') ?? ''
    expect(policy).toContain("default-src 'none'")
    const nonce = /'nonce-([^']+)'/.exec(policy)?.[1]
    expect(html).toContain(`<style nonce="${nonce}">`)
    expect(html).toContain('<html lang="en">')
  })

  it('refuses a body above 1 MiB without keeping it', async () => {
    const { hookUrl, received } = await open()
    const status = await fetch(hookUrl, signed('evt_1', 'x'.repeat(1024 * 1024 + 1))).then(
      (response) => response.status,
      () => 413, // the connection is closed while the rest is still being sent
    )
    expect(status).toBe(413)
    expect(received()).toHaveLength(0)
  })

  it('answers only to its own names, so that a rebound name reads nothing', async () => {
    const { url } = await open()
    const status = await new Promise((resolve, reject) => {
      httpRequest(`${url}received`, { headers: { host: 'evil.example' } }, (response) => {
        response.resume()
        resolve(response.statusCode)
      })
        .on('error', reject)
        .end()
    })
    expect(status).toBe(421)
  })

  it.each([
    ['GET', 'hooks', 405],
    ['POST', 'received', 405],
    ['DELETE', '', 405],
    ['GET', 'elsewhere', 404],
  ])('answers %s /%s with %d', async (method, path, status) => {
    const { url } = await open()
    expect((await fetch(url + path, { method })).status).toBe(status)
  })
})
