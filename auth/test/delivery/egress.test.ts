import { createServer as createTcpServer, type Server } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Egress, type Lookup, openEgress } from '../../src/delivery/egress.ts'
import { parseEgressAllow } from '../../src/delivery/egress-allow.ts'
import { isPublicAddress } from '../../src/delivery/egress-ranges.ts'
import { type Receiver, startReceiver } from './receiver.ts'
import { PUBLIC_ADDRESSES, SPECIAL_ADDRESSES, SPECIAL_SPELLINGS } from './special-addresses.ts'

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

function egressTo(allow: string, lookup?: Lookup): Egress {
  const reading = parseEgressAllow(allow)
  expect(reading.mistakes).toEqual([])
  const egress = openEgress({ allow: reading.allowed, ...(lookup === undefined ? {} : { lookup }) })
  closing.push(() => egress.close())
  return egress
}

const answers =
  (...addresses: string[]): Lookup =>
  async () =>
    addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))
const noLookup: Lookup = () => Promise.reject(new Error('a literal must not be looked up'))
const post = (egress: Egress, url: string, deadlineMs = 2_000) =>
  egress.post({
    url,
    headers: { 'content-type': 'text/plain' },
    body: Buffer.from('hello'),
    deadlineMs,
    keepBytes: 4_096,
  })
const inUrl = (address: string) => (address.includes(':') ? `[${address}]` : address)

/** Plays the metadata service, on a port of its own and, where this machine permits, on 443. */
async function metadataServer() {
  let connections = 0
  const listen = async (port: number): Promise<Server | undefined> => {
    const server = createTcpServer((socket) => {
      connections += 1
      socket.destroy()
    })
    const listening = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => resolve(true))
    })
    if (!listening) return undefined
    closing.push(() => new Promise((resolve) => server.close(() => resolve())))
    return server
  }
  await listen(443)
  const address = (await listen(0))?.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    connections: () => connections,
  }
}

describe('the egress guard', () => {
  test('DO-01 knows more than 60 special addresses and leaves public ones alone', () => {
    expect(SPECIAL_ADDRESSES.length).toBeGreaterThanOrEqual(60)
    expect(SPECIAL_ADDRESSES.filter(isPublicAddress)).toEqual([])
    expect(PUBLIC_ADDRESSES.filter((address) => !isPublicAddress(address))).toEqual([])
    expect(['', 'localhost', '1.1.1', '[::1]', 'fe80::1%eth0', '2606:4700::1%1'].some(isPublicAddress)).toBe(
      false,
    )
  })

  test('DO-01 refuses every special address as a literal, at save and at connect; the metadata server sees nothing', async () => {
    const metadata = await metadataServer()
    const egress = egressTo('', noLookup)
    for (const host of [...SPECIAL_ADDRESSES.map(inUrl), ...SPECIAL_SPELLINGS]) {
      for (const url of [
        `https://${host}/latest/meta-data`,
        `http://${host}:${metadata.port}/`,
        `https://${host}:${metadata.port}/`,
      ]) {
        expect(await egress.check(url), url).toMatchObject({ kind: 'refused', reason: 'special_address' })
        expect(await post(egress, url), url).toMatchObject({ kind: 'refused', reason: 'special_address' })
      }
    }
    expect(metadata.connections()).toBe(0)
  })

  test('DO-01 refuses every special address behind a name, alone or among public ones, at save and at connect', async () => {
    const metadata = await metadataServer()
    for (const address of SPECIAL_ADDRESSES) {
      for (const lookup of [answers(address), answers('93.184.215.14', address)]) {
        const egress = egressTo('', lookup)
        expect(await egress.check('https://hook.example/'), address).toEqual({
          kind: 'refused',
          reason: 'special_address',
        })
        expect(await post(egress, 'https://hook.example/'), address).toMatchObject({
          kind: 'refused',
          reason: 'special_address',
        })
      }
    }
    expect(metadata.connections()).toBe(0)
  })

  test.each([
    ['ftp://hook.example/', 'scheme'],
    ['file:///etc/passwd', 'scheme'],
    ['gopher://hook.example/', 'scheme'],
    ['data:text/plain,x', 'scheme'],
    ['javascript:alert(1)', 'scheme'],
    ['http://hook.example/', 'scheme'],
    ['http://93.184.215.14/', 'scheme'],
    ['https://user:pass@hook.example/', 'userinfo'],
    ['https://user@hook.example/', 'userinfo'],
    ['https://hook.example@169.254.169.254/', 'userinfo'],
    ['https://hook.example:8443/', 'port'],
    ['https://hook.example:80/', 'port'],
    ['https://hook.example:22/', 'port'],
    ['https://[fe80::1%25eth0]/', 'not_a_url'],
    ['https://256.1.1.1/', 'not_a_url'],
    ['//hook.example/', 'not_a_url'],
    ['/hook', 'not_a_url'],
    ['', 'not_a_url'],
  ])('DO-01 refuses %s as %s, at save and at connect', async (url, reason) => {
    const egress = egressTo('127.0.0.1:4100/hook', answers('93.184.215.14'))
    expect(await egress.check(url)).toMatchObject({ kind: 'refused', reason })
    expect(await post(egress, url)).toMatchObject({ kind: 'refused', reason })
  })

  test('permits a public name at save, and says how the URL will be used', async () => {
    const egress = egressTo('', answers('93.184.215.14', '2606:4700:4700::1111'))
    expect(await egress.check('HTTPS://Hook.Example:443/a/../b?c=1#d')).toEqual({
      kind: 'permitted',
      url: 'https://hook.example/b?c=1',
    })
  })

  test('refuses a name that nobody answers for, at save', async () => {
    const egress = egressTo('', () => Promise.reject(new Error('ENOTFOUND')))
    expect(await egress.check('https://hook.example/')).toMatchObject({
      kind: 'refused',
      reason: 'name_not_found',
    })
  })

  test('DO-02 a name that is public when saved and private at delivery is refused, each time it turns', async () => {
    const metadata = await metadataServer()
    const turns = ['93.184.215.14', '10.0.0.5', '127.0.0.1', '169.254.169.254', '::1']
    let asked = 0
    const egress = egressTo('', async () => {
      const address = turns[asked++] ?? '127.0.0.1'
      return [{ address, family: address.includes(':') ? 6 : 4 }]
    })
    expect((await egress.check('https://hook.example/')).kind).toBe('permitted')
    for (let attempt = 1; attempt < turns.length; attempt += 1)
      expect(await post(egress, 'https://hook.example/')).toMatchObject({
        kind: 'refused',
        reason: 'special_address',
      })
    expect(metadata.connections()).toBe(0)
  })

  describe('with a receiver of one’s own', () => {
    let receiver: Receiver
    beforeEach(async () => {
      receiver = await startReceiver()
      closing.push(() => receiver.close())
    })

    test('DO-01 EGRESS_ALLOW opens exactly its host, port and path, and nothing beside them', async () => {
      const other = await startReceiver()
      closing.push(() => other.close())
      const egress = egressTo(`127.0.0.1:${receiver.port}/hook/in`, noLookup)
      const base = `http://127.0.0.1:${receiver.port}`
      for (const path of ['/hook/in', '/hook/in/deeper', '/hook/in?x=1', '/x/../hook/in'])
        expect(await post(egress, base + path), path).toMatchObject({ kind: 'answered', status: 204 })
      const seen = receiver.requests.length
      for (const url of [
        `${base}/`,
        `${base}/hook`,
        `${base}/hook/inside`,
        `${base}/hook/in/../../admin`,
        `${base}/hook/in/%2e%2e/%2e%2e/admin`,
        `${base}/hook/in/..%2f..%2fadmin`,
        `${base}/hook/in\\..\\..\\admin`,
        `${base}/HOOK/IN`,
        `http://127.0.0.2:${receiver.port}/hook/in`,
        `http://[::ffff:127.0.0.1]:${receiver.port}/hook/in`,
        `http://127.0.0.1:${other.port}/hook/in`,
      ]) {
        expect(await egress.check(url), url).toMatchObject({ kind: 'refused' })
        expect(await post(egress, url), url).toMatchObject({ kind: 'refused' })
      }
      expect(receiver.requests.length).toBe(seen)
      expect(other.connections).toBe(0)
    })

    test('DO-02 the socket goes to the address that was looked up, under the name that was asked for', async () => {
      let lookups = 0
      const egress = egressTo(`receiver.test:${receiver.port}/`, async () => {
        lookups += 1
        return [{ address: '127.0.0.1', family: 4 }]
      })
      expect(await post(egress, `http://receiver.test:${receiver.port}/hook`)).toMatchObject({ status: 204 })
      expect(receiver.requests[0]?.headers.host).toBe(`receiver.test:${receiver.port}`)
      expect(receiver.requests[0]?.body.toString()).toBe('hello')
      expect(lookups).toBe(1)
    })

    test('DO-02 a kept socket of an allowed path never serves another path of that host', async () => {
      const egress = egressTo(`receiver.test:${receiver.port}/hook`, answers('127.0.0.1'))
      expect(await post(egress, `http://receiver.test:${receiver.port}/hook`)).toMatchObject({ status: 204 })
      expect(receiver.sockets.size).toBe(1)
      expect(await post(egress, `http://receiver.test:${receiver.port}/admin`)).toMatchObject({
        kind: 'refused',
      })
      expect(receiver.requests).toHaveLength(1)
    })

    test.each([301, 302, 303, 307, 308])('DO-03 a %d is not followed', async (status) => {
      const target = await startReceiver()
      closing.push(() => target.close())
      receiver.answer = (_request, response) => response.writeHead(status, { location: target.url }).end()
      const egress = egressTo(`127.0.0.1:${receiver.port}/hook, 127.0.0.1:${target.port}/hook`)
      expect(await post(egress, receiver.url)).toMatchObject({
        kind: 'answered',
        status,
        retryAfter: undefined,
      })
      expect(receiver.requests).toHaveLength(1)
      expect(target.connections).toBe(0)
    })

    test('DO-06 an endless answer is cut after 64 KiB and its socket destroyed; the status counts', async () => {
      let written = 0
      receiver.answer = (_request, response) => {
        response.writeHead(200)
        const more = () => {
          while (!response.destroyed && response.write(Buffer.alloc(16_384))) written += 16_384
        }
        response.on('drain', more)
        response.on('error', () => {})
        more()
      }
      const egress = egressTo(`127.0.0.1:${receiver.port}/hook`)
      const began = performance.now()
      expect(await post(egress, receiver.url, 10_000)).toMatchObject({ kind: 'answered', status: 200 })
      expect(performance.now() - began).toBeLessThan(5_000)
      await expect.poll(() => receiver.sockets.size).toBe(0)
      // what the two kernels' socket buffers took, far from endless
      expect(written).toBeLessThan(64 * 1024 * 1024)
    })

    test('DO-06 an answer that trickles for ever ends at the deadline', async () => {
      receiver.answer = (_request, response) => {
        response.writeHead(500)
        const timer = setInterval(() => response.write('.'), 20)
        response.on('close', () => clearInterval(timer))
      }
      const egress = egressTo(`127.0.0.1:${receiver.port}/hook`)
      const began = performance.now()
      expect(await post(egress, receiver.url, 400)).toMatchObject({ kind: 'answered', status: 500 })
      expect(performance.now() - began).toBeLessThan(3_000)
      await expect.poll(() => receiver.sockets.size).toBe(0)
    })

    test('DO-06 nothing is decompressed', async () => {
      receiver.answer = (_request, response) =>
        response.writeHead(200, { 'content-encoding': 'gzip' }).end('not gzip at all')
      const egress = egressTo(`127.0.0.1:${receiver.port}/hook`)
      expect(await post(egress, receiver.url)).toMatchObject({ kind: 'answered', status: 200 })
    })

    test('a receiver that never answers is a timeout at the deadline', async () => {
      receiver.answer = () => {}
      const egress = egressTo(`127.0.0.1:${receiver.port}/hook`)
      const began = performance.now()
      expect(await post(egress, receiver.url, 300)).toMatchObject({ kind: 'failed', error: 'timeout' })
      expect(performance.now() - began).toBeLessThan(3_000)
      await expect.poll(() => receiver.sockets.size).toBe(0)
    })

    test('a slow resolver is inside the deadline, and what it answers later sends nothing', async () => {
      let answerLate = () => {}
      const egress = egressTo(`receiver.test:${receiver.port}/`, async () => {
        await new Promise<void>((resolve) => {
          answerLate = resolve
        })
        return [{ address: '127.0.0.1', family: 4 }]
      })
      const began = performance.now()
      expect(await post(egress, `http://receiver.test:${receiver.port}/`, 200)).toMatchObject({
        kind: 'failed',
        error: 'timeout',
      })
      expect(performance.now() - began).toBeLessThan(2_000)
      answerLate()
      await expect.poll(() => receiver.connections).toBe(1)
      await new Promise((resolve) => setTimeout(resolve, 100))
      expect(receiver.requests).toEqual([])
    })

    test('the caller can cut an attempt off', async () => {
      receiver.answer = () => {}
      const egress = egressTo(`127.0.0.1:${receiver.port}/hook`)
      const cut = new AbortController()
      const answer = egress.post({
        url: receiver.url,
        headers: {},
        body: Buffer.alloc(0),
        deadlineMs: 20_000,
        keepBytes: 4_096,
        signal: cut.signal,
      })
      await expect.poll(() => receiver.requests.length).toBe(1)
      cut.abort()
      expect(await answer).toMatchObject({ kind: 'failed', error: 'aborted' })
    })

    test('sockets are kept for the next delivery to the same place', async () => {
      const egress = egressTo(`127.0.0.1:${receiver.port}/hook`)
      for (let i = 0; i < 5; i += 1) await post(egress, receiver.url)
      expect(receiver.requests).toHaveLength(5)
      // undici may open a second one when the first has not yet reported itself idle
      expect(receiver.connections).toBeLessThanOrEqual(2)
    })

    test.each([
      ['a closed connection', 'connection_reset'],
      ['nonsense', 'bad_answer'],
    ])('%s is %s', async (how, error) => {
      const server = createTcpServer((socket) => {
        socket.on('error', () => {})
        socket.once('data', () => {
          if (how === 'nonsense') socket.end('GARBAGE\r\n\r\n')
          else socket.destroy()
        })
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      closing.push(() => new Promise((resolve) => server.close(() => resolve())))
      const address = server.address()
      const port = typeof address === 'object' && address !== null ? address.port : 0
      const egress = egressTo(`127.0.0.1:${port}/`)
      expect(await post(egress, `http://127.0.0.1:${port}/`)).toMatchObject({ kind: 'failed', error })
    })

    test('nobody listening is connection_refused', async () => {
      const { url, port } = receiver
      await receiver.close()
      expect(await post(egressTo(`127.0.0.1:${port}/hook`), url)).toMatchObject({
        kind: 'failed',
        error: 'connection_refused',
      })
    })
  })

  test('TLS asks for the name without its trailing dot, and a receiver without a trusted certificate is tls', async () => {
    const names: string[] = []
    const server = createTlsServer({
      SNICallback: (name, done) => {
        names.push(name)
        done(null)
      },
    })
    server.on('tlsClientError', () => {})
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    closing.push(() => new Promise((resolve) => server.close(() => resolve())))
    const address = server.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    const egress = egressTo(`receiver.test:${port}/, receiver.test.:${port}/`, answers('127.0.0.1'))
    for (const host of ['receiver.test', 'receiver.test.'])
      expect(await post(egress, `https://${host}:${port}/`)).toMatchObject({ kind: 'failed', error: 'tls' })
    expect(names).toEqual(['receiver.test', 'receiver.test'])
  })
})

describe('EGRESS_ALLOW', () => {
  test('reads hosts, ports and path prefixes', () => {
    expect(
      parseEgressAllow('N8N:5678/webhook/, 127.0.0.1:4100 ,[::1]:8080/a/b,, 2130706433:99/').allowed,
    ).toEqual([
      { host: 'n8n', port: 5678, pathPrefix: '/webhook' },
      { host: '127.0.0.1', port: 4100, pathPrefix: '/' },
      { host: '[::1]', port: 8080, pathPrefix: '/a/b' },
      { host: '127.0.0.1', port: 99, pathPrefix: '/' },
    ])
    expect(parseEgressAllow('')).toEqual({ allowed: [], mistakes: [] })
  })

  test.each([
    'n8n',
    'n8n/webhook',
    'http://n8n:5678/',
    'n8n:0/',
    'n8n:70000/',
    '*:5678/',
    'a@b:1/',
    'n8n:80/x?y',
    '10.0.0.0/8',
  ])('refuses %s without quoting it', (text) => {
    const reading = parseEgressAllow(`ok:1/, ${text}`)
    expect(reading.mistakes).toHaveLength(1)
    expect(reading.mistakes[0]).toMatch(/^EGRESS_ALLOW entry 2 must look like/)
    expect(reading.allowed).toHaveLength(1)
  })
})
