/** Validation tokens for WI-05: legal ones that must come back unchanged, and 200 that somebody would like to see come back. */

/** Graph's token is opaque text; these are its known form and everything printable that is no markup. */
export const LEGAL_TOKENS: readonly string[] = [
  'Validation: Testing client application reachability for subscription Request-Id: 5a8ce7b3-1c4a-4cd0-9a8e-2f7f0d8f1a11',
  'x',
  ' ',
  ' leading and trailing ',
  'a+b c%20d&e=f#g?h/i\\j',
  '"quoted" \'single\' `back`',
  '{"json":[1,2]}',
  '{{7*7}} #{7*7} $(id) %{jndi:ldap://127.0.0.1/a}',
  '../../etc/passwd',
  '%3Cscript%3Ealert(1)%3C/script%3E',
  'x'.repeat(2_048),
  Array.from({ length: 95 }, (_, i) => String.fromCharCode(0x20 + i))
    .filter((c) => c !== '<' && c !== '>')
    .join(''),
]

const CARRIERS: readonly ((core: string) => string)[] = [
  (core) => core,
  (core) => `Validation: ${core}`,
  (core) => `${core}${core}`,
  (core) => `"'\`;${core}//`,
  (core) => `${'A'.repeat(1_000)}${core}`,
]

const CORES: readonly string[] = [
  '<script>alert(1)</script>',
  '<img src=x onerror=alert(1)>',
  '<svg/onload=alert(1)>',
  '<!doctype html><html>',
  '<?xml version="1.0"?>',
  '</textarea><script>',
  '<iframe srcdoc=x>',
  '<a href="javascript:alert(1)">',
  '<',
  '>',
  '\r\nSet-Cookie: a=b',
  '\r\n\r\n<script>',
  '\nContent-Type: text/html',
  '\r',
  '\n',
  '\t',
  '\v',
  '\f',
  '\0',
  '\u0001',
  '\u001b[31m',
  '\u007f',
  '\u0080',
  '\u0085',
  '\u00a0',
  '\u00ad',
  'é',
  'ÿþ',
  '\u200b',
  '\u200f',
  '\u2028',
  '\u202e',
  '\ufeff',
  '\ufffd',
  '\uff1cscript\uff1e',
  '漢',
  '😀',
  '\u{10ffff}',
  '+ADw-script+AD4-\u00e9',
  'A'.repeat(2_049),
]

export const HOSTILE_TOKENS: readonly string[] = CORES.flatMap((core) => CARRIERS.map((carry) => carry(core)))

/** Percent-encodings that are no UTF-8 or no encoding at all, as they stand in the URL. */
export const MALFORMED_TOKENS: readonly string[] = [
  '%ff',
  '%c0%bc',
  '%ed%a0%80',
  '%f5%80%80%80',
  '%00',
  '%0d%0a',
]
