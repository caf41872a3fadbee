/** The door by which a test moves the simulated providers of a running stack. */
import type { Stack } from '../../local/src/stack.ts'

type Doors = Pick<Stack, 'urls' | 'secrets'>

/**
 * @param body absent: GET
 * @returns what they answer as JSON, undefined where there is nothing
 * @throws when they refuse
 */
export async function askSimulators<T = unknown>(doors: Doors, path: string, body?: unknown): Promise<T> {
  const response = await fetch(`${doors.urls.control}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${doors.secrets.controlToken}`, 'content-type': 'application/json' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(20_000),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`the simulators' ${path}: ${response.status} ${text}`)
  return (text === '' ? undefined : JSON.parse(text)) as T
}
