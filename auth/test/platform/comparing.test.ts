/** WI-02: secrets are compared as digests of one length, in constant time, and in few places. */
import { readdir, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { sameBytes } from '../../src/platform/ids.ts'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))

test('WI-02 bytes of unequal lengths are unequal, without an exception', () => {
  const one = Buffer.from('0123456789')
  expect(sameBytes(one, Buffer.from('0123456789'))).toBe(true)
  for (const other of ['', '0', '012345678', '0123456780', '01234567890', '0123456789'.repeat(100)])
    expect(sameBytes(one, Buffer.from(other))).toBe(false)
  expect(sameBytes(Buffer.alloc(0), Buffer.alloc(0))).toBe(true)
})

test('WI-02 whoever makes a MAC or a signature compares it in constant time, and nobody compares bytes in another way', async () => {
  const makers: string[] = []
  const wrong: string[] = []
  for (const folder of ['auth/src', 'providers/src', 'client/src', 'bff/src'])
    for (const name of await readdir(`${ROOT}${folder}`, { recursive: true })) {
      if (!name.endsWith('.ts')) continue
      const file = `${folder}/${name}`
      const text = await readFile(`${ROOT}${file}`, 'utf8')
      if (/\.(?:equals|compare)\(|Buffer\.compare/.test(text)) wrong.push(file)
      if (/createHmac\(/.test(text)) makers.push(`${file} ${/timingSafeEqual|sameBytes/.test(text)}`)
    }
  expect(wrong).toEqual([])
  // what only signs or derives compares nothing: each of those is named here
  expect(makers.filter((maker) => maker.endsWith('false')).map((maker) => maker.split(' ')[0])).toEqual(
    MAKES_ONLY,
  )
  expect(makers.some((maker) => maker.endsWith('true'))).toBe(true)
})

const MAKES_ONLY: readonly string[] = ['auth/src/delivery/signature.ts', 'bff/src/session-binding.ts']
