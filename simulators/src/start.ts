/**
 * Starts the simulated providers and their control API, in this process, on 127.0.0.1 only. Nothing of it
 * belongs into a production image, and nothing of it speaks to the real providers.
 */
import { randomBytes } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { createSimulatedClock } from './clock.ts'
import { createControl } from './control/control.ts'
import { startGoogle } from './google/google.ts'
import { createIssuer } from './issued.ts'
import { startMicrosoft } from './microsoft/microsoft.ts'
import { checkOptions, type SimulatorOptions } from './options.ts'
import type { Provider } from './provider.ts'
import { listen } from './server.ts'

export { googleAccounts, microsoftAccounts } from './accounts.ts'
export type { GoogleOptions, MicrosoftOptions, PubsubOptions, SimulatorOptions } from './options.ts'
export type { Authorization, Callback } from './provider.ts'

export interface Simulators {
  microsoftUrl?: string
  googleUrl?: string
  controlUrl: string
  /** Bearer token that every request to the control API must carry. */
  controlToken: string
  /** Stops the servers and all redeliveries. */
  close(): Promise<void>
}

/**
 * @throws Error with code `bad_options` for options that can not be meant, or the system's error when a port
 * is taken; what was started until then is stopped again.
 */
export async function startSimulators(options: SimulatorOptions): Promise<Simulators> {
  checkOptions(options)
  const log = options.log ?? (() => undefined)
  const clock = createSimulatedClock(options.now ?? Date.now)
  const { now } = clock
  const issuer = createIssuer(options.canary ?? '', now)
  const controlToken = options.controlToken ?? randomBytes(32).toString('base64url')
  const providers: Provider[] = []
  const servers: FastifyInstance[] = []
  const close = async () => {
    await Promise.all(providers.map((provider) => provider.postman.close()))
    await Promise.all(
      [...providers.map((provider) => provider.server), ...servers].map((server) => server.close()),
    )
  }
  try {
    const parts = { now, log, issuer }
    const microsoft = options.microsoft ? await startMicrosoft(options.microsoft, parts) : null
    if (microsoft) providers.push(microsoft)
    const google = options.google ? await startGoogle(options.google, parts) : null
    if (google) providers.push(google)
    const control = createControl({ token: controlToken, microsoft, google, issuer, clock, log })
    servers.push(control)
    const controlUrl = await listen(control, options.controlPort)
    return {
      ...(microsoft ? { microsoftUrl: microsoft.url } : {}),
      ...(google ? { googleUrl: google.url } : {}),
      controlUrl,
      controlToken,
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}
