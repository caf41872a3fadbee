/** BC-07 by construction: hostile text can only become text, because no way to make markup from text is used. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

const folder = fileURLToPath(new URL('../src', import.meta.url))
const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  .filter((name) => /\.(tsx?|css)$/.test(name))
  .map((name) => ({ name, text: readFileSync(`${folder}/${name}`, 'utf8') }))
const page = { name: 'index.html', text: readFileSync(`${folder}/../index.html`, 'utf8') }

const FORBIDDEN: [string, RegExp][] = [
  [
    'markup from text',
    /dangerouslySetInnerHTML|innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcDoc|DOMParser/i,
  ],
  ['code from text', /\beval\(|new Function|setTimeout\(\s*['"`]|javascript:/],
  ['inline style', /\bstyle=|<style/],
  ['inline script', /<script(?![^>]*\bsrc=)|\son[a-z]+="/],
  ['resources of others', /(?:src|href|url|import)\s*[=(]?\s*['"(]+(?:https?:)?\/\//],
  ['data: addresses', /['"(]data:/],
  ['storage that outlives the page', /localStorage|sessionStorage|indexedDB|document\.cookie/],
]

describe('BC-07 the sources of the console', () => {
  test('are found', () => {
    expect(sources.length).toBeGreaterThan(20)
  })
  test.each(FORBIDDEN)('BC-07 contain no %s', (_what, pattern) => {
    const found = [...sources, page].filter(({ text }) => pattern.test(text)).map(({ name }) => name)
    expect(found).toEqual([])
  })
  test.each([
    ['<p dangerouslySetInnerHTML={{ __html: x }} />', 0],
    ['new Function(x)', 1],
    ['<p style={{ color }}>', 2],
    ['<script>x()</script>', 3],
    ['<img src="//evil.example/x.png">', 4],
    ['url(data:image/png)', 5],
    ['localStorage.token', 6],
  ] as const)('BC-07 the search would find %s', (text, index) => {
    expect(FORBIDDEN[index]?.[1].test(text)).toBe(true)
  })
})
