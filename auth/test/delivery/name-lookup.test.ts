/** F11, T28: public names over real DNS on loopback, also where the name server keeps silent. */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { describe, expect, onTestFinished, test } from 'vitest'
import { publicNames } from '../../src/delivery/name-lookup.ts'

const [A, AAAA] = [1, 28]
type Answer = { readonly status: 'ok' | 'no such name' | 'failed'; readonly addresses: readonly Buffer[] }
const none: Answer = { status: 'ok', addresses: [] }

/** A name server of one sentence for each question. @param answer undefined: it keeps silent */
async function nameServer(answer: (name: string, type: number) => Answer | undefined) {
  const questions: { name: string; type: number }[] = []
  const socket: Socket = createSocket('udp4')
  socket.on('message', (query, from) => {
    let end = 12
    const labels: string[] = []
    while (query[end] !== 0) {
      const length = query[end] ?? 0
      labels.push(query.toString('latin1', end + 1, end + 1 + length))
      end += 1 + length
    }
    const [name, type] = [labels.join('.').toLowerCase(), query.readUInt16BE(end + 1)]
    questions.push({ name, type })
    const said = answer(name, type)
    if (said !== undefined)
      socket.send(messageOf(query.subarray(0, end + 5), type, said), from.port, from.address)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  onTestFinished(() => void socket.close())
  return { questions, address: `127.0.0.1:${socket.address().port}` }
}

/** RFC 1035 §4.1: the question again, and each address as a record that points to its name. */
function messageOf(question: Buffer, type: number, { status, addresses }: Answer): Buffer {
  const header = Buffer.from(question.subarray(0, 12))
  header.writeUInt16BE(0x8180 | { ok: 0, failed: 2, 'no such name': 3 }[status], 2)
  header.writeUInt16BE(addresses.length, 6)
  header.fill(0, 8)
  const records = addresses.map((address) => {
    const record = Buffer.alloc(12)
    record.writeUInt16BE(0xc00c, 0)
    record.writeUInt16BE(type, 2)
    record.writeUInt16BE(1, 4)
    record.writeUInt32BE(60, 6)
    record.writeUInt16BE(address.length, 10)
    return Buffer.concat([record, address])
  })
  return Buffer.concat([header, question.subarray(12), ...records])
}

describe('public names', () => {
  test('all addresses of both families, of one alone too', async () => {
    const server = await nameServer((name, type) => {
      if (type === A)
        return { status: 'ok', addresses: [Buffer.from([192, 0, 2, 1]), Buffer.from([192, 0, 2, 2])] }
      return name === 'both.test'
        ? { status: 'ok', addresses: [Buffer.from('20010db8000000000000000000000001', 'hex')] }
        : none
    })
    const lookup = publicNames(500, [server.address])
    const four = [
      { address: '192.0.2.1', family: 4 },
      { address: '192.0.2.2', family: 4 },
    ]
    expect(await lookup('both.test')).toEqual([...four, { address: '2001:db8::1', family: 6 }])
    expect(await lookup('four.test.')).toEqual(four)
  })

  test('a name that does not exist is told from one of which nobody could say', async () => {
    const server = await nameServer((name) => ({
      status: name === 'gone.test' ? 'no such name' : 'failed',
      addresses: [],
    }))
    const lookup = publicNames(200, [server.address])
    await expect(lookup('gone.test')).rejects.toMatchObject({ code: 'ENOTFOUND' })
    await expect(lookup('ill.test')).rejects.toMatchObject({ code: 'EAI_AGAIN' })
  })

  test('F11 a name server that keeps silent: it ends, is asked once for all who wait, and no other name waits', async () => {
    const server = await nameServer((name, type) => {
      if (name !== 'well.test') return undefined
      return type === A ? { status: 'ok', addresses: [Buffer.from([192, 0, 2, 1])] } : none
    })
    const lookup = publicNames(300, [server.address])
    let ended = 0
    // far more names than the process has threads, each asked for by several attempts
    const silent = Array.from({ length: 60 }, (_, n) =>
      lookup(`silent-${n % 20}.test`).catch((error: NodeJS.ErrnoException) => {
        ended += 1
        return error.code
      }),
    )
    expect(await lookup('well.test')).toEqual([{ address: '192.0.2.1', family: 4 }])
    expect(ended).toBe(0)
    expect(new Set(await Promise.all(silent))).toEqual(new Set(['EAI_AGAIN']))
    for (const type of [A, AAAA]) {
      const asked = server.questions.filter(({ name, type: of }) => name === 'silent-0.test' && of === type)
      // by one lookup: once, and once more when nothing came
      expect(asked).toHaveLength(2)
    }
    // and asked anew by the next
    await expect(lookup('silent-0.test')).rejects.toMatchObject({ code: 'EAI_AGAIN' })
    expect(server.questions.filter(({ name }) => name === 'silent-0.test')).toHaveLength(8)
  })
})
