import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { pageOf, titleOf } from '../src/routes.ts'

describe('addresses', () => {
  test.each([
    ['/', 'connections'],
    ['/connections', 'connections'],
    ['/events', 'events'],
    ['/events/evt_a', 'event'],
    ['/signin', 'signin'],
    ['/auth/success', 'connected'],
    ['/auth/error', 'failed'],
    ['/events/', 'unknown'],
    ['/events/a/b', 'unknown'],
    ['/events/..%2f', 'unknown'],
    ['/signin/', 'unknown'],
    ['/nothing', 'unknown'],
  ] as const)('%s is %s', (path, kind) => {
    expect(pageOf(path).kind).toBe(kind)
  })

  test('every page has a title of its own', () => {
    const paths = [
      '/',
      '/events',
      '/events/evt_a',
      '/destinations',
      '/destinations/new',
      '/destinations/dst_a',
      '/destinations/dst_a/edit',
      '/deliveries',
      '/deliveries/dlv_a',
      '/signin',
      '/auth/success',
      '/auth/error',
      '/x',
    ]
    expect(new Set(paths.map((path) => titleOf(pageOf(path)))).size).toBe(paths.length)
  })

  test('the BFF serves the page for exactly these', () => {
    const served = readFileSync(new URL('../../bff/src/console-files.ts', import.meta.url), 'utf8')
    const [, list = ''] = /PAGES = (\[[^\]]+\])/.exec(served) ?? []
    const pages = JSON.parse(list.replaceAll("'", '"').replace(/,\s*\]/, ']')) as string[]
    expect(pages).toHaveLength(13)
    for (const page of pages) expect(pageOf(page.replace(':id', 'evt_a')).kind).not.toBe('unknown')
  })
})
