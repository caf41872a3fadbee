/**
 * Looks at a page as it is now, at both widths and in both colour schemes: keeps a picture of each, and collects what
 * is wrong. It judges every element that axe-core knows and whether the page can be scrolled sideways.
 */
import { mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const PICTURES = fileURLToPath(new URL('../../../test-results/browser/', import.meta.url))
const WIDTHS = [390, 1280]
const SCHEMES = ['light', 'dark'] as const

export interface Looks {
  /** Takes pictures under this name and notes what is wrong. */
  at(page: Page, name: string): Promise<void>
  readonly names: readonly string[]
  /** Rules that axe-core reports as broken, with the elements. */
  readonly violations: readonly string[]
  /** Pages wider than their window. */
  readonly tooWide: readonly string[]
}

interface AxeResult {
  violations: { id: string; nodes: { target: string[]; failureSummary: string }[] }[]
  passes: unknown[]
}

export function startLooking(): Looks {
  mkdirSync(PICTURES, { recursive: true })
  const names: string[] = []
  const violations: string[] = []
  const tooWide: string[] = []
  const lookOnce = async (page: Page, name: string) => {
    const width = await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth')
    if (width > 0) tooWide.push(`${name}: ${width} px too wide`)
    await page.screenshot({ path: join(PICTURES, `${name}.png`), fullPage: true })
    const result = await page.evaluate<AxeResult>('axe.run(document)')
    if (result.passes.length === 0) violations.push(`${name}: axe-core found nothing to judge`)
    for (const { id, nodes } of result.violations)
      for (const node of nodes)
        violations.push(`${name}: ${id} at ${node.target.join(' ')}: ${node.failureSummary}`)
  }
  return {
    names,
    violations,
    tooWide,
    async at(page, name) {
      names.push(name)
      await page.evaluate(AXE)
      const before = page.viewportSize()
      for (const width of WIDTHS) {
        await page.setViewportSize({ width, height: width < 600 ? 844 : 800 })
        for (const colorScheme of SCHEMES) {
          // no transition between the schemes: a colour on its way has no contrast to speak of
          await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
          // Two frames: the new style has been computed and painted.
          await page.evaluate(
            'new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))',
          )
          await lookOnce(page, `${name}-${width}-${colorScheme}`)
        }
      }
      await page.emulateMedia({ colorScheme: 'light', reducedMotion: null })
      if (before !== null) await page.setViewportSize(before)
    },
  }
}
