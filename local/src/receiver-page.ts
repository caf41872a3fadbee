/**
 * The receiver's page: what came, newest first, as plain text. Every value from outside goes through `text`; the
 * page has no script, no link to elsewhere, and one style element that its policy allows by nonce.
 */

import type { Receipt } from './receiver.ts'

const SHOWN = 100

/** @param receipts oldest first */
export function receiverPage(receipts: readonly Receipt[], nonce: string): string {
  const verified = receipts.filter((receipt) => receipt.verified).length
  const newest = receipts.slice(-SHOWN).reverse()
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Local receiver · Flovify Connect</title>
<style nonce="${text(nonce)}">${STYLE}</style>
</head>
<body>
<main>
<h1>Local receiver</h1>
<p>${receipts.length} ${receipts.length === 1 ? 'delivery' : 'deliveries'} since the start, ${verified} verified.
<a href="/">Load again</a> · <a href="/received">as JSON</a></p>
${newest.length === 0 ? '<p>Nothing has come yet. Connect an account in the console, then send a message to it.</p>' : table(newest)}
</main>
</body>
</html>
`
}

function table(receipts: readonly Receipt[]): string {
  return `<div class="scroll" role="region" aria-label="Deliveries" tabindex="0">
<table>
<caption>The last ${receipts.length}, newest first</caption>
<thead><tr><th scope="col">Received</th><th scope="col">Signature</th><th scope="col">Type</th><th scope="col">Provider</th><th scope="col">Try</th><th scope="col">Answer</th><th scope="col">Event</th></tr></thead>
<tbody>
${receipts.map(row).join('\n')}
</tbody>
</table>
</div>`
}

function row(receipt: Receipt): string {
  const judged = receipt.verified ? 'verified' : `refused: ${receipt.reason ?? 'unknown'}`
  return `<tr class="${receipt.verified ? 'good' : 'bad'}">
<td><time datetime="${text(receipt.receivedAt)}">${text(receipt.receivedAt.slice(11, 23))}</time></td>
<td>${text(judged)}</td><td>${text(receipt.type ?? 'unknown')}</td><td>${text(receipt.provider ?? 'none')}</td>
<td>${receipt.attempt}</td><td>${receipt.status}</td>
<td><details><summary>${text(receipt.webhookId || 'without id')}</summary><pre>${text(indent(receipt.body))}</pre></details></td>
</tr>`
}

function indent(body: string): string {
  try {
    return JSON.stringify(JSON.parse(body), null, 2)
  } catch {
    return body
  }
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function text(value: string): string {
  return value.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '')
}

const STYLE = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { margin: 0 }
main { max-width: 80rem; margin: 0 auto; padding: 1rem }
.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100% }
caption { text-align: left; padding: .5rem 0 }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem; border-bottom: 1px solid GrayText }
.bad td:nth-child(2) { font-weight: 700 }
pre { white-space: pre-wrap; overflow-wrap: anywhere; max-width: 40rem }
:focus-visible { outline: 3px solid Highlight }
`
