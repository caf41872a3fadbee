import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { Receipt } from '../../../local/src/receiver.ts'
import { balance, joinLedgers, type SenderLedger, type StoredEvent } from '../../src/ledgers.ts'

const body = (n: number) => Buffer.from(`body ${n}`)
const mark = (n: number) => `AAMkADNkNAAAq${n}${'x'.repeat(80)}`
const sender = (...numbers: number[]): SenderLedger => ({
  sent: new Map(numbers.map((n) => [n, [{ status: 202, retryAfter: undefined, sentAt: 1, answeredAt: 2 }]])),
  acknowledged: new Set(numbers),
})
const event = (n: number, id = `evt_${n}`): StoredEvent => ({
  id,
  n,
  bodySha256: createHash('sha256').update(body(n)).digest('hex'),
})
const receipt = (n: number, change: Partial<Receipt> = {}): Receipt => ({
  webhookId: `evt_${n}`,
  verified: true,
  reason: undefined,
  type: undefined,
  provider: undefined,
  receivedAt: '',
  attempt: 1,
  status: 204,
  body: mark(n),
  ...change,
})

describe('the balance of the ledgers', () => {
  it('RE-16 finds nothing when everything acknowledged is stored once and delivered, also twice', () => {
    const sums = balance(
      sender(1, 2),
      body,
      [event(1), event(2)],
      [receipt(1), receipt(2), receipt(2, { attempt: 2 })],
    )
    expect(sums).toMatchObject({ acknowledged: 2, stored: 2, delivered: 2, duplicates: 1, problems: [] })
  })

  it('RE-16 counts refusals by status and joins bursts', () => {
    const refused: SenderLedger = {
      sent: new Map([[3, [{ status: 503, retryAfter: '5', sentAt: 1, answeredAt: 2 }]]]),
      acknowledged: new Set(),
    }
    const sums = balance(joinLedgers([sender(1), refused]), body, [event(1)], [receipt(1)])
    expect(sums).toMatchObject({ sent: 2, acknowledged: 1, refused: { 503: 1 }, problems: [] })
  })

  it.each([
    ['acknowledged but not stored', [event(1)], [receipt(1), receipt(2)]],
    ['stored as more than one event', [event(1), event(2), event(2, 'evt_x')], [receipt(1), receipt(2)]],
    ['stored but never sent', [event(1), event(2), event(3)], [receipt(1), receipt(2)]],
    [
      'stored with other bytes than sent',
      [event(1), { ...event(2), bodySha256: 'other' }],
      [receipt(1), receipt(2)],
    ],
    ['acknowledged but not delivered', [event(1), event(2)], [receipt(1)]],
    ['acknowledged but not delivered', [event(1), event(2)], [receipt(1), receipt(2, { status: 500 })]],
    ['delivered but never sent', [event(1), event(2)], [receipt(1), receipt(2), receipt(9)]],
    [
      'delivered under another id than stored',
      [event(1), event(2)],
      [receipt(1), receipt(2), receipt(2, { webhookId: 'evt_other' })],
    ],
    [
      'delivered without a valid signature',
      [event(1), event(2)],
      [receipt(1), receipt(2), receipt(2, { verified: false })],
    ],
  ])('RE-16 finds: %s', (problem, stored, receipts) => {
    const { problems } = balance(sender(1, 2), body, stored, receipts)
    expect(problems.join('\n')).toContain(`${problem}: 1 (`)
  })
})
