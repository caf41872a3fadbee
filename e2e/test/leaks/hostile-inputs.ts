/** CR, LF, ANSI sequences and 64 KB in everything from outside that could come near a log (OP-02). */
import { request } from 'node:http'
import { control, type Person, type Scene } from './person.ts'

export const HOSTILE = `forged\r\n{"level":"error","forged":true}\u001b[31m\u0000\u2028${'A'.repeat(64 * 1024)}`

/** @returns how many inputs were sent */
export async function hostileInputs({ stack, trail }: Scene, person: Person): Promise<number> {
  const answers = [
    { status: 400, body: { error: HOSTILE, error_description: HOSTILE } },
    { status: 500, body: { error: { code: HOSTILE, message: HOSTILE } } },
    { status: 200, body: HOSTILE },
  ]
  let sent = 0
  for (const provider of ['microsoft', 'google']) {
    const account = provider === 'microsoft' ? 'adele@contoso.test' : 'gita@flow.test'
    for (const tokenError of answers) {
      const { ticket } = await person.park(provider, account)
      await control(stack, '/faults', { provider, tokenError })
      await person.console('POST', '/bff/auth/finish', { ticket })
      await control(stack, '/reset', {})
      sent += 1
    }
    const query = new URLSearchParams({ error: HOSTILE.slice(0, 3_000), state: HOSTILE.slice(0, 3_000) })
    await trail.ask(`${stack.urls.webhooks}/webhook/oauth/${provider}/callback?${query}`)
    await trail.ask(`${stack.urls.webhooks}/webhook/events/${provider}`, {
      method: 'POST',
      headers: { 'user-agent': `a\u001b[31m${'A'.repeat(8_000)}`.replace('\u001b', '%1b') },
      body: HOSTILE,
    })
    sent += 2
  }
  for (const origin of [stack.urls.console, stack.urls.internal, stack.urls.webhooks]) {
    const { hostname, port } = new URL(origin)
    await raw(Number(port), hostname, `/%0d%0a%1b[31m${encodeURIComponent(HOSTILE.slice(0, 2_000))}`)
    sent += 1
  }
  return sent
}

/** As it stands, without what `fetch` would make proper first. */
function raw(port: number, host: string, path: string): Promise<void> {
  return new Promise((resolve) => {
    const sending = request({
      port,
      host,
      path,
      method: 'GET',
      headers: { 'x-request-id': 'a\tb'.repeat(1_000) },
    })
    sending.on('response', (response) => response.resume().on('end', resolve))
    sending.on('error', () => resolve())
    sending.end()
  })
}
