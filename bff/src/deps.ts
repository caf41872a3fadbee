/** What the handlers need: the client of the internal API and the secret from which flow bindings are derived. */
import type { ConnectClient } from '@flovify/client'

export interface Deps {
  readonly auth: ConnectClient
  readonly serviceSecret: string
}
