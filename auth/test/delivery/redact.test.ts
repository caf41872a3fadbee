import { randomBytes } from 'node:crypto'
import { Secret } from '@flovify/providers'
import { describe, expect, test } from 'vitest'
import { redactBody, redactHeaders, redactor } from '../../src/delivery/redact.ts'
import { newSigningSecret } from '../../src/delivery/signature.ts'

describe('what a receiver answered', () => {
  const signing = newSigningSecret()
  const header = 'Bearer n8n-credential/with=signs 1'
  const redact = redactor([signing, new Secret(header)])

  test('loses every spelling of the secrets that were used', () => {
    const plain = signing.reveal()
    const spellings = [plain, plain.slice(6), header, 'n8n-credential/with=signs 1'].flatMap((text) => [
      text,
      encodeURIComponent(text),
      JSON.stringify({ text }),
      Buffer.from(text).toString('base64'),
      Buffer.from(text).toString('base64url'),
      Buffer.from(text).toString('hex'),
    ])
    const clean = redactBody(redact, Buffer.from(`before ${spellings.join(' | ')} after`)).toString()
    expect(clean).toMatch(/^before .*\[redacted\].* after$/)
    for (const text of [
      plain,
      plain.slice(6),
      'n8n-credential',
      Buffer.from(plain).toString('hex').slice(0, 60),
    ])
      expect(clean).not.toContain(text)
  })

  test('loses what a receiver escaped as its language does', () => {
    const secret = `q"'<&+/7=${randomBytes(9).toString('hex')}`
    const password = `p&ss/${randomBytes(6).toString('hex')}`
    const basic = `Basic ${Buffer.from(`someone:${password}`).toString('base64')}`
    const redact = redactor([new Secret(secret), new Secret(basic)])
    const php = (text: string) => JSON.stringify(text).replaceAll('/', '\\/')
    const go = (text: string) =>
      JSON.stringify(text).replace(/[<>&]/g, (c) => `\\u00${c.charCodeAt(0).toString(16)}`)
    const net = (text: string) =>
      JSON.stringify(text).replace(
        /\\?["<>&'+]/g,
        (c) => `\\u00${Buffer.from(c.slice(-1)).toString('hex').toUpperCase()}`,
      )
    const html = (quote: string) => (text: string) =>
      text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;').replaceAll("'", quote)
    const lower = (text: string) => encodeURIComponent(text).replace(/%../g, (code) => code.toLowerCase())
    for (const write of [php, go, net, lower, html('&#39;'), html('&#x27;'), html('&#039;')])
      for (const text of [secret, password, basic]) {
        const written = `before ${write(text)} after`
        expect(redact.finds(written)).toBe(true)
        // of a scheme and of the end of base64 something may be left; the rest, and its letters, may not
        expect(redact(written)).toMatch(
          /^before (?:"|\\u0022|Basic%20)?\[redacted\](?:"|\\u0022|%3d|=)* after$/,
        )
      }
    // in time, although each backslash may stand for itself or be half of an escape
    const slashes = redactor([new Secret(`${'\\'.repeat(60)}end`)])
    expect(slashes('\\'.repeat(4_000))).toBe('\\'.repeat(4_000))
    expect(slashes(JSON.stringify(`${'\\'.repeat(60)}end`))).toMatch(/^"\\*\[redacted\]"$/)
    expect(redact('a & b \\ 100 % of it')).toBe('a & b \\ 100 % of it')
  })

  test('loses a secret that crosses the border of what is kept, also behind others that made room', () => {
    const plain = signing.reveal()
    const cut = (text: string) => redactBody(redact, Buffer.from(text).subarray(0, redact.bodyBytes))
    for (const before of [0, 1, 20, plain.length - 1]) {
      const clean = cut(`${'é'.repeat(1_000)}${'x'.repeat(2_096 - before)}${plain}${'y'.repeat(9_000)}`)
      expect(clean.length).toBeLessThanOrEqual(4_096)
      expect(clean.toString()).toMatch(/^é{1000}x+[[redacted\]]*y*$/)
    }
    // what is cut off at the end of what was read moves to the front when the rest gets shorter
    const many = `${plain} `.repeat(4_000 / (plain.length + 1))
    for (let seen = 1; seen < plain.length; seen += 1)
      expect(cut(`${many}${'x'.repeat(redact.bodyBytes - many.length - seen)}${plain}`).toString()).toMatch(
        /^(\[redacted\] )+x*$/,
      )
    const clean = cut('é'.repeat(9_000))
    expect(clean.toString()).toBe('é'.repeat(2_048))
    expect(cut(`x${'é'.repeat(9_000)}`).toString()).toBe(`x${'é'.repeat(2_047)}`)
    expect(cut('z'.repeat(4_100))).toHaveLength(4_096)
  })

  test('loses what looks like a credential, and keeps the rest', () => {
    expect(redact('authorization: Bearer abcdefgh12345 ok')).toBe('authorization: [redacted] ok')
    expect(redact('whsec_c29tZW9uZSBlbHNl and eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln')).toBe(
      '[redacted] and [redacted]',
    )
    expect(redact('{"message":"Workflow was started"}')).toBe('{"message":"Workflow was started"}')
  })

  test('loses the values of headers that carry credentials by name', () => {
    expect(
      redactHeaders(redact, {
        'set-cookie': ['session=1'],
        'x-api-key': 'k',
        'content-type': 'text/plain',
        via: [header, 'x'],
      }),
    ).toEqual({
      'set-cookie': '[redacted]',
      'x-api-key': '[redacted]',
      'content-type': 'text/plain',
      via: ['[redacted]', 'x'],
    })
  })
})
