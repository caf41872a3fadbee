/**
 * What the callback can answer with: two redirects to the configured console and five fixed pages. Nothing of a request
 * ever gets into an answer, so there is nothing to escape.
 */

export interface CallbackAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

const HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy':
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
} as const

/** @param location made from configuration and our own words only */
export const redirectTo = (location: string): CallbackAnswer => ({
  status: 303,
  headers: { ...HEADERS, location },
  body: '',
})

const page = (status: number, title: string, text: string, headers = {}): CallbackAnswer => ({
  status,
  headers: { ...HEADERS, ...headers, 'content-type': 'text/html; charset=utf-8' },
  body: `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title></head>
<body><main><h1>${title}</h1><p>${text}</p></main></body>
</html>
`,
})

/** One page for every cause. */
export const REFUSED = page(
  400,
  'This link is not valid',
  'It has expired, was used before, or does not belong here. Return to the console and connect again.',
)

export const CONSENT_GIVEN = page(
  200,
  'Thank you',
  'Your consent was noted. The person who sent you this link can connect now. You can close this page.',
)

export const CONSENT_DECLINED = page(
  200,
  'Nothing has changed',
  'You did not consent, so the person who sent you this link cannot connect. You can close this page.',
)

export const UNKNOWN_PROVIDER = page(
  404,
  'Nothing here',
  'This address does not belong to a provider in use.',
)

export const UNAVAILABLE = page(
  503,
  'Try again in a moment',
  'The service cannot store your answer now. Reload this page, or return to the console and connect again.',
  { 'retry-after': '5' },
)
