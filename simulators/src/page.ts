/**
 * The pages that a person sees: consent, the auto-submitting form of `form_post`, and the dead end. One card,
 * system font, no outside resource; every text from outside is escaped; a strict policy goes with each.
 */
import { randomBytes } from 'node:crypto'
import type { FastifyReply } from 'fastify'

export interface ConsentPage {
  provider: string
  heading: string
  application: string
  /** Where the form goes, relative to this origin. */
  action: string
  /** Hidden field that finds the pending request again. */
  requestId: string
  accounts: readonly { email: string; name: string }[]
  selected: string
  scopes: readonly { name: string; label: string }[]
  /** Whether each scope can be left out (granular consent). */
  choosable: boolean
  acceptLabel: string
  cancelLabel: string
  redirectUri: string
  accent: string
}

export function sendConsentPage(reply: FastifyReply, page: ConsentPage): FastifyReply {
  const accounts = page.accounts
    .map((account, index) => {
      const checked = account.email === page.selected ? ' checked' : ''
      return `<label class="row" for="account-${index}">
<input type="radio" name="account" id="account-${index}" value="${escapeHtml(account.email)}"${checked} required>
<span><strong>${escapeHtml(account.name)}</strong><br>${escapeHtml(account.email)}</span></label>`
    })
    .join('\n')
  const scopes = page.scopes.map((scope, index) => scopeRow(page, scope, index)).join('\n')
  const list = page.choosable ? scopes : `<ul>\n${scopes}\n</ul>`
  const body = `<h1>${escapeHtml(page.heading)}</h1>
<p><strong>${escapeHtml(page.application)}</strong> asks for access to an account.</p>
<form method="post" action="${escapeHtml(page.action)}">
<input type="hidden" name="request" value="${escapeHtml(page.requestId)}">
<fieldset><legend>Choose an account</legend>
${accounts}
</fieldset>
<fieldset><legend>${page.choosable ? 'Choose what it may do' : 'It will be able to'}</legend>
${list}
</fieldset>
<p class="buttons">
<button type="submit" name="decision" value="accept" class="first">${escapeHtml(page.acceptLabel)}</button>
<button type="submit" name="decision" value="cancel" formnovalidate>${escapeHtml(page.cancelLabel)}</button>
</p>
</form>`
  const { provider, accent } = page
  return sendPage(reply, 200, {
    title: page.heading,
    provider,
    accent,
    body,
    formOrigin: originOf(page.redirectUri),
  })
}

function scopeRow(page: ConsentPage, scope: { name: string; label: string }, index: number): string {
  const text = `${escapeHtml(scope.label)}<br><code>${escapeHtml(scope.name)}</code>`
  if (!page.choosable) return `<li>${text}</li>`
  return `<label class="row" for="scope-${index}">
<input type="checkbox" name="scope" id="scope-${index}" value="${escapeHtml(scope.name)}" checked>
<span>${text}</span></label>`
}

export interface FormPostPage {
  provider: string
  accent: string
  redirectUri: string
  fields: readonly (readonly [string, string])[]
}

/** OAuth 2.0 Form Post Response Mode §2: a form that submits itself, with a button where scripts are off. */
export function sendFormPostPage(reply: FastifyReply, page: FormPostPage): FastifyReply {
  const fields = page.fields
    .map(([name, value]) => `<input type="hidden" name="${escapeHtml(name)}" value="${escapeHtml(value)}">`)
    .join('\n')
  const body = `<h1>Going back to the application</h1>
<form method="post" action="${escapeHtml(page.redirectUri)}">
${fields}
<p>If nothing happens, press the button.</p>
<p class="buttons"><button type="submit" class="first">Continue</button></p>
</form>`
  const { provider, accent } = page
  return sendPage(reply, 200, {
    title: 'Going back',
    provider,
    accent,
    body,
    formOrigin: originOf(page.redirectUri),
    script: 'document.forms[0].submit()',
  })
}

export interface DeadEnd {
  provider: string
  accent: string
  status: number
  title: string
  detail: string
}

/** The browser stays here: what is wrong must not be told to an address that was not proven. */
export function sendDeadEnd(reply: FastifyReply, page: DeadEnd): FastifyReply {
  const body = `<h1>${escapeHtml(page.title)}</h1>
<p role="alert">${escapeHtml(page.detail)}</p>
<p>You can close this page.</p>`
  const { title, provider, accent } = page
  return sendPage(reply, page.status, { title, provider, accent, body, formOrigin: null })
}

export function escapeHtml(text: string): string {
  const names: Record<string, string> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  }
  return text.replace(/[&<>"']/g, (character) => names[character] ?? '')
}

interface Frame {
  title: string
  provider: string
  accent: string
  body: string
  formOrigin: string | null
  script?: string
}

function sendPage(reply: FastifyReply, status: number, frame: Frame): FastifyReply {
  const nonce = randomBytes(18).toString('base64')
  const script = frame.script ? `<script nonce="${nonce}">${frame.script}</script>` : ''
  // Browsers hold form-action against the redirects after a form too: the callback sends on to the console,
  // which locally is another loopback port.
  const targets = frame.formOrigin
    ? `'self' ${frame.formOrigin} http://127.0.0.1:* http://localhost:*`
    : "'none'"
  const policy = [
    "default-src 'none'",
    `style-src 'nonce-${nonce}'`,
    ...(script ? [`script-src 'nonce-${nonce}'`] : []),
    `form-action ${targets}`,
    "frame-ancestors 'none'",
    "base-uri 'none'",
  ].join('; ')
  return reply
    .code(status)
    .header('content-type', 'text/html; charset=utf-8')
    .header('content-security-policy', policy)
    .header('x-content-type-options', 'nosniff')
    .header('referrer-policy', 'no-referrer')
    .header('cache-control', 'no-store')
    .send(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(frame.title)} · ${escapeHtml(frame.provider)} simulator</title>
<style nonce="${nonce}">${stylesheet(frame.accent)}</style>
</head>
<body>
<main>
<p class="badge">${escapeHtml(frame.provider)} simulator · on this machine, not the real one</p>
${frame.body}
</main>
${script}
</body>
</html>
`)
}

function originOf(uri: string): string {
  return new URL(uri).origin
}

function stylesheet(accent: string): string {
  return `
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:16px;background:#eef1f5;color:#1b1f24;font:16px/1.5 system-ui,sans-serif}
main{width:100%;max-width:440px;background:#fff;border-radius:12px;border-top:4px solid ${accent};padding:24px;box-shadow:0 4px 24px rgb(20 30 50/.12)}
h1{font-size:22px;line-height:1.25;margin:8px 0 12px;overflow-wrap:anywhere}
p{margin:0 0 12px;overflow-wrap:anywhere}
.badge{font-size:13px;color:#4b5563;margin:0}
fieldset{border:1px solid #c9d0da;border-radius:8px;margin:0 0 16px;padding:8px 12px 12px;min-width:0}
legend{font-weight:600;padding:0 4px}
.row{display:flex;gap:12px;align-items:flex-start;padding:8px;border-radius:6px;cursor:pointer}
.row:hover{background:#f3f5f9}
.row span{min-width:0;overflow-wrap:anywhere}
.row input{width:18px;height:18px;margin:4px 0 0;flex:none;accent-color:${accent}}
ul{margin:4px 0 0;padding-left:20px}
li{margin:6px 0;overflow-wrap:anywhere}
code{font-size:13px;color:#4b5563}
.buttons{display:flex;flex-wrap:wrap;gap:12px;margin:0}
button{font:inherit;font-weight:600;flex:1 1 120px;min-height:44px;padding:8px 16px;border-radius:8px;border:1px solid #6b7280;background:#fff;color:#1b1f24;cursor:pointer}
button.first{background:${accent};border-color:${accent};color:#fff}
:focus-visible{outline:3px solid #1b1f24;outline-offset:2px}
@media (prefers-color-scheme:dark){body{background:#14171c;color:#e8ebf0}main{background:#1f242c}.badge,code{color:#b4bcc8}fieldset{border-color:#465060}.row:hover{background:#2a313b}button{background:#1f242c;color:#e8ebf0}:focus-visible{outline-color:#e8ebf0}}
`
}
