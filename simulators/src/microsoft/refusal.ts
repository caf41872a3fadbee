/** How Graph refuses a request about a subscription. */

export type Refusal = { kind: 'refused'; status: number; code: string; message: string }

export function invalid(message: string): Refusal {
  return { kind: 'refused', status: 400, code: 'InvalidRequest', message }
}
