import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { type Egress, openEgress } from '../../src/delivery/egress.ts'
import { type Certificate, makeCertificate } from './certificates.ts'

const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

const authority = makeCertificate({ name: 'Private authority', authority: true })
const stranger = makeCertificate({ name: 'Stranger', authority: true })

interface Receiver {
  readonly port: number
  readonly requests: string[]
}

async function receiverWith(certificate: Certificate): Promise<Receiver> {
  const requests: string[] = []
  const server: Server = createServer(
    { key: certificate.key, cert: certificate.cert },
    (request, response) => {
      requests.push(request.url ?? '')
      request.resume().on('end', () => response.end('thank you'))
    },
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return { port: (server.address() as AddressInfo).port, requests }
}

function egressTo({ port }: Receiver): Egress {
  const egress = openEgress({
    allow: [{ host: 'hook.test', port, pathPrefix: '/' }],
    lookup: async () => [{ address: '127.0.0.1', family: 4 }],
  })
  closing.push(() => egress.close())
  return egress
}

const post = (egress: Egress, { port }: Receiver, ca?: string) =>
  egress.post({
    url: `https://hook.test:${port}/in`,
    headers: {},
    body: Buffer.from('{}'),
    deadlineMs: 3_000,
    keepBytes: 4_096,
    ca,
  })

describe('DO-13 TLS', () => {
  test('a certificate of the destination’s own authority is accepted for it, and by nobody else', async () => {
    const receiver = await receiverWith(makeCertificate({ name: 'hook.test', signedBy: authority }))
    const egress = egressTo(receiver)
    expect(await post(egress, receiver, authority.cert)).toMatchObject({
      kind: 'answered',
      status: 200,
      body: Buffer.from('thank you'),
    })
    // the socket of before is still open: it must not serve who does not trust that authority
    expect(await post(egress, receiver)).toMatchObject({ kind: 'failed', error: 'tls' })
    expect(await post(egress, receiver, stranger.cert)).toMatchObject({ kind: 'failed', error: 'tls' })
    expect(receiver.requests).toEqual(['/in'])
  })

  test.each([
    ['of another host', makeCertificate({ name: 'other.test', signedBy: authority })],
    [
      'that has expired',
      makeCertificate({ name: 'hook.test', signedBy: authority, fromDays: -9, toDays: -1 }),
    ],
    [
      'that is not valid yet',
      makeCertificate({ name: 'hook.test', signedBy: authority, fromDays: 1, toDays: 9 }),
    ],
    ['that is self-signed', makeCertificate({ name: 'hook.test' })],
    ['of a strange authority', makeCertificate({ name: 'hook.test', signedBy: stranger })],
  ])('a certificate %s is a failure, and nothing is sent', async (_, certificate) => {
    const receiver = await receiverWith(certificate)
    expect(await post(egressTo(receiver), receiver, authority.cert)).toMatchObject({
      kind: 'failed',
      error: 'tls',
    })
    expect(receiver.requests).toEqual([])
  })

  test('the environment cannot switch verification off', async () => {
    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0')
    closing.push(async () => vi.unstubAllEnvs())
    const receiver = await receiverWith(makeCertificate({ name: 'hook.test', signedBy: stranger }))
    expect(await post(egressTo(receiver), receiver)).toMatchObject({ kind: 'failed', error: 'tls' })
    expect(receiver.requests).toEqual([])
  })

  test('each phase of an attempt is timed, and an open socket needs none of the first three', async () => {
    const receiver = await receiverWith(makeCertificate({ name: 'hook.test', signedBy: authority }))
    const egress = egressTo(receiver)
    const first = await post(egress, receiver, authority.cert)
    expect(Object.keys(first.phases).sort()).toEqual([
      'connectMs',
      'firstByteMs',
      'lookupMs',
      'tlsMs',
      'totalMs',
    ])
    for (const ms of Object.values(first.phases)) expect(ms).toBeGreaterThanOrEqual(0)
    const { lookupMs = 0, connectMs = 0, tlsMs = 0, firstByteMs = 0, totalMs } = first.phases
    expect(lookupMs + connectMs + tlsMs).toBeLessThanOrEqual(firstByteMs)
    expect(firstByteMs).toBeLessThanOrEqual(totalMs)
    // the socket is free again a turn of the event loop after its answer
    await new Promise((resolve) => setTimeout(resolve, 50))
    const second = await post(egress, receiver, authority.cert)
    expect(Object.keys(second.phases).sort()).toEqual(['firstByteMs', 'totalMs'])
  })
})
