import { Secret } from '@flovify/providers'
import fc from 'fast-check'
import { Webhook } from 'standardwebhooks'
import { describe, expect, test } from 'vitest'
import { newSigningSecret, sign, signingKey } from '../../src/delivery/signature.ts'

describe('the signature of a delivery', () => {
  test('DO-04 equals that of the standardwebhooks package for every body and time, and verifies there', () => {
    const secret = newSigningSecret()
    const webhook = new Webhook(secret.reveal())
    fc.assert(
      fc.property(fc.json(), fc.date({ min: new Date(0), noInvalidDate: true }), (body, at) => {
        const headers = sign([signingKey(secret)], 'evt_x', at, Buffer.from(body))
        expect(headers['webhook-signature']).toBe(webhook.sign('evt_x', at, body))
      }),
    )
    const now = new Date()
    const body = '{"a":1}'
    expect(webhook.verify(body, { ...sign([signingKey(secret)], 'evt_x', now, Buffer.from(body)) })).toEqual({
      a: 1,
    })
  })

  test('DO-04 does not verify for another body, id, time or secret', () => {
    const secret = newSigningSecret()
    const webhook = new Webhook(secret.reveal())
    const body = '{"a":1}'
    const headers = { ...sign([signingKey(secret)], 'evt_x', new Date(), Buffer.from(body)) }
    const later = String(Number(headers['webhook-timestamp']) + 1)
    expect(() => webhook.verify('{"a":2}', headers)).toThrow()
    expect(() => webhook.verify(body, { ...headers, 'webhook-id': 'evt_y' })).toThrow()
    expect(() => webhook.verify(body, { ...headers, 'webhook-timestamp': later })).toThrow()
    expect(() => new Webhook(newSigningSecret().reveal()).verify(body, headers)).toThrow()
  })

  test('a new secret is whsec_ and 32 bytes, different each time, and does not print', () => {
    const secret = newSigningSecret()
    expect(secret.reveal()).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
    expect(newSigningSecret().reveal()).not.toBe(secret.reveal())
    expect(`${secret}`).toBe('***')
  })

  test('a secret of another form is refused, without quoting it', () => {
    for (const text of ['', 'whsec_', 'whsec_c2hvcnQ=', Buffer.alloc(32).toString('base64')])
      expect(() => sign([signingKey(new Secret(text))], 'evt_x', new Date(), Buffer.alloc(0))).toThrow(
        /^a signing secret is not whsec_ and 32 bytes$/,
      )
  })
})
