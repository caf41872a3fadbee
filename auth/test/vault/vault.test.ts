import { readFile } from 'node:fs/promises'
import { Secret } from '@flovify/providers'
import { gcm } from '@noble/ciphers/aes.js'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { contextBytes, decryptWithTag, encrypt, VaultIntegrityError } from '../../src/vault/cipher.ts'
import { openKeyRing } from '../../src/vault/key-ring.ts'
import { type KeyContext, openVault, type Vault } from '../../src/vault/vault.ts'

const KEYS = new Map([
  ['k0', Buffer.from('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f', 'hex')],
  ['k1', Buffer.from('f0f1f2f3f4f5f6f7f8f9fafbfcfdfeffe0e1e2e3e4e5e6e7e8e9eaebecedeeef', 'hex')],
])

const context = (row: string, owner = '7', provider = 'microsoft'): KeyContext => ({
  purpose: 'oauth_tokens',
  owner,
  row,
  provider,
})

describe('the vault', () => {
  let vault: Vault
  beforeAll(() => {
    vault = openVault(openKeyRing(KEYS, 'k0'))
  })

  test('opens what it sealed, and prints nothing of it', () => {
    const wrapped = vault.newDataKey(context('con_a'))
    const sealed = vault.open(wrapped, context('con_a')).seal('access_token', new Secret('the token'))
    expect(vault.open(wrapped, context('con_a')).unseal('access_token', sealed).reveal()).toBe('the token')
    expect(sealed).toMatch(/^atv1\.[\w-]{16}\.[\w-]+$/)
    expect(wrapped).toMatch(/^atv1\.k0\.[\w-]+$/)
    expect(`${new Secret('the token')} ${JSON.stringify({ token: new Secret('the token') })}`).not.toContain(
      'the token',
    )
  })

  test('TV-02 a value of another row, owner, provider, column or data key does not open', () => {
    const wrappedA = vault.newDataKey(context('con_a'))
    const wrappedB = vault.newDataKey(context('con_b'))
    const a = vault.open(wrappedA, context('con_a'))
    const sealed = a.seal('access_token', new Secret('token of a'))
    expect(() => a.unseal('refresh_token', sealed)).toThrow(VaultIntegrityError)
    expect(() => vault.open(wrappedB, context('con_b')).unseal('access_token', sealed)).toThrow(
      VaultIntegrityError,
    )
    for (const other of [
      context('con_b'),
      context('con_a', '8'),
      context('con_a', '7', 'google'),
      { ...context('con_a'), purpose: 'destinations' as const },
    ]) {
      expect(() => vault.open(wrappedA, other)).toThrow(VaultIntegrityError)
    }
    // the key id in the text is bound too
    expect(() => vault.open(wrappedA.replace('.k0.', '.k1.'), context('con_a'))).toThrow(VaultIntegrityError)
  })

  test('TV-02 one changed character anywhere never yields plaintext (10,000 cases)', () => {
    const wrapped = vault.newDataKey(context('con_a'))
    const key = vault.open(wrapped, context('con_a'))
    const sealed = key.seal('access_token', new Secret('canary-plaintext'))
    const characters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.'
    let refused = 0
    fc.assert(
      fc.property(fc.boolean(), fc.nat(), fc.nat({ max: characters.length - 1 }), (ofKey, at, to) => {
        const original = ofKey ? wrapped : sealed
        const index = at % original.length
        const changed = original.slice(0, index) + characters[to] + original.slice(index + 1)
        if (changed === original) return
        refused += 1
        expect(() =>
          ofKey ? vault.open(changed, context('con_a')) : key.unseal('access_token', changed),
        ).toThrow()
      }),
      { numRuns: 10_000 },
    )
    expect(refused).toBeGreaterThan(9_000)
  })

  test('TV-03 tags of 4, 8, 12, 15 and 17 bytes and nonces of another length are refused before the cipher', () => {
    const key = Buffer.alloc(32, 7)
    const bound = contextBytes(['x'])
    const { nonce, sealed } = encrypt(key, Buffer.from('text'), bound)
    const body = sealed.subarray(0, -16)
    const tag = sealed.subarray(-16)
    expect(decryptWithTag(key, nonce, body, tag, bound).toString()).toBe('text')
    for (const length of [0, 4, 8, 12, 15]) {
      expect(() => decryptWithTag(key, nonce, body, tag.subarray(0, length), bound)).toThrow(
        /tag of the wrong length/,
      )
    }
    expect(() => decryptWithTag(key, nonce, body, Buffer.concat([tag, Buffer.alloc(1)]), bound)).toThrow(
      /tag of the wrong length/,
    )
    for (const length of [0, 8, 11, 13, 16]) {
      expect(() => decryptWithTag(key, Buffer.alloc(length), body, tag, bound)).toThrow(
        /nonce of the wrong length/,
      )
    }
  })

  test('TV-04 10,000 encryptions of one text have 10,000 nonces, and another implementation reads them', () => {
    const key = Buffer.alloc(32, 9)
    const bound = contextBytes(['a', 'bc'])
    const nonces = new Set<string>()
    const outputs = new Set<string>()
    for (let i = 0; i < 10_000; i += 1) {
      const { nonce, sealed } = encrypt(key, Buffer.from('the same text'), bound)
      nonces.add(nonce.toString('hex'))
      outputs.add(sealed.toString('hex'))
      if (i < 50) expect(Buffer.from(gcm(key, nonce, bound).decrypt(sealed)).toString()).toBe('the same text')
    }
    expect(nonces.size).toBe(10_000)
    expect(outputs.size).toBe(10_000)
  })

  test('TV-04 the published GCM test case 16 opens', () => {
    // McGrew and Viega, The Galois/Counter Mode of Operation, test case 16 (AES-256 with additional data)
    const key = Buffer.from('feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308', 'hex')
    const nonce = Buffer.from('cafebabefacedbaddecaf888', 'hex')
    const aad = Buffer.from('feedfacedeadbeeffeedfacedeadbeefabaddad2', 'hex')
    const plain =
      'd9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39'
    const text =
      '522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662'
    const tag = Buffer.from('76fc6ece0f4e1768cddf8853bb2d551b', 'hex')
    expect(decryptWithTag(key, nonce, Buffer.from(text, 'hex'), tag, aad).toString('hex')).toBe(plain)
  })

  test('no two lists of context fields give the same bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.string()), fc.array(fc.string()), (a, b) => {
        if (JSON.stringify(a) === JSON.stringify(b)) return
        expect(contextBytes(a).equals(contextBytes(b))).toBe(false)
      }),
    )
  })

  test('TV-10 the cipher is called in one file only, with its tag length; what Graph encrypts is not ours', async () => {
    const { globSync } = await import('node:fs')
    const files = globSync('{auth,bff,client,console,local,providers,simulators}/src/**/*.{ts,tsx}', {
      cwd: new URL('../../../', import.meta.url).pathname,
    })
    const users: string[] = []
    for (const file of files) {
      const text = await readFile(new URL(`../../../${file}`, import.meta.url), 'utf8')
      if (/create(C|Dec)ipher/.test(text)) users.push(file)
    }
    // what Graph encrypts is AES-CBC with a MAC of its own: opened by its provider, made by its simulator
    expect(users.sort()).toEqual([
      'auth/src/vault/cipher.ts',
      'providers/src/microsoft/resource-data/encrypted-content.ts',
      'simulators/src/microsoft/encryption.ts',
    ])
    for (const file of users.slice(1)) {
      const text = await readFile(new URL(`../../../${file}`, import.meta.url), 'utf8')
      expect(text.match(/create(?:C|Dec)ipheriv\([^,]+/g)).toEqual([
        expect.stringMatching(/^create(?:C|Dec)ipheriv\('aes-256-cbc'$/),
      ])
    }
    const cipher = await readFile(new URL('../../src/vault/cipher.ts', import.meta.url), 'utf8')
    expect(cipher.match(/create(?:C|Dec)ipheriv\([^)]*authTagLength/g)).toHaveLength(2)
  })
})
