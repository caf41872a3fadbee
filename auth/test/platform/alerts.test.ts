/** The rules in deploy/alerts speak of what is exported, and leave out nothing that the service calls unwell. */
import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { openMetrics } from '../../src/platform/metrics.ts'
import { UNWELL } from '../../src/subscriptions/health-store.ts'

const FOLDER = new URL('../../../deploy/alerts/', import.meta.url)
const rules = readdirSync(FOLDER)
  .filter((name) => name.endsWith('.yml'))
  .map((name) => readFileSync(new URL(name, FOLDER), 'utf8'))
  .join('\n')
const alerts = rules.split(/^\s+- alert: /m).slice(1)
const nameOf = (alert: string) => alert.split('\n')[0] ?? ''
const runbook = readFileSync(new URL('README.md', FOLDER), 'utf8')

/** As they are exported: a family's name with its labels. */
async function exported(): Promise<Map<string, Set<string>>> {
  const metrics = openMetrics()
  metrics.subscriptionsUnwell(UNWELL.map((reason) => ({ provider: 'p', reason, count: 1 })))
  for (const outcome of ['created', 'failed', 'renewed', 'lapsed', 'stopped', 'missed'] as const)
    metrics.subscriptions('p', outcome)
  metrics.events('p', 'subscription.v1.removed', 1)
  metrics.gauge('oldest_due_seconds', 0)
  metrics.gauge('deliveries_dead', 0)
  metrics.destinations([
    { destination: 'd', due: 0, inFlight: 0, dead: 0, oldestDueSeconds: 0, breakerOpen: false },
  ])
  metrics.workErrors('deliveries')
  metrics.deliveries('d', 'expired')
  const { body } = await metrics.page()
  const labels = new Map<string, Set<string>>()
  for (const [, name = '', inside = ''] of body.matchAll(/^(flovify_\w+)(?:\{(.*)\})? /gm)) {
    const known = labels.get(name) ?? new Set()
    for (const [label] of inside.matchAll(/\w+="[^"]*"/g)) known.add(label)
    labels.set(name, known)
  }
  return labels
}

describe('alerts', () => {
  test('there are some, each with an expression, a severity, a sentence and its place in the runbook', () => {
    expect(alerts.length).toBeGreaterThan(5)
    const anchors = [...runbook.matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
      title.toLowerCase().replaceAll(' ', '-'),
    )
    for (const alert of alerts) {
      expect(alert, nameOf(alert)).toMatch(/expr: \S/)
      expect(alert, nameOf(alert)).toMatch(/severity: (warning|critical)/)
      expect(alert, nameOf(alert)).toMatch(/summary: "\{\{/)
      const [, anchor] = /runbook: deploy\/alerts\/README\.md#(\S+)/.exec(alert) ?? []
      expect(anchors, nameOf(alert)).toContain(anchor)
    }
    expect(new Set(alerts.map(nameOf)).size).toBe(alerts.length)
  })

  test('every metric in them is exported, and so is every value of a label', async () => {
    const known = await exported()
    const used = [...rules.matchAll(/(flovify_\w+)(?:\{([^}]*)\})?/g)]
    expect(used.length).toBeGreaterThan(5)
    for (const [, name = '', inside = ''] of used) {
      expect([...known.keys()]).toContain(name)
      for (const [label] of inside.matchAll(/\w+="[^"]*"/g))
        expect([...(known.get(name) ?? [])]).toContain(label)
    }
  })

  test('WI-16 everything that can be wrong with a subscription has its alert: lapsed, failing and silent ones too', () => {
    for (const reason of UNWELL) expect(rules).toContain(`{reason="${reason}"}`)
    expect(rules).toContain('{outcome="lapsed"}')
  })

  test('everything that keeps deliveries from arriving has its alert', () => {
    for (const told of [
      'flovify_oldest_due_seconds',
      'flovify_destination_oldest_due_seconds',
      'flovify_destination_breaker_open',
      'flovify_destination_dead',
      '{change="disabled"}',
      '{outcome="expired"}',
      'flovify_work_errors_total',
    ])
      expect(rules).toContain(told)
  })
})
