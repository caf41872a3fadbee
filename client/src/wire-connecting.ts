/** The shapes of connecting: a flow begun and completed, and the link for an administrator. Pure types: nothing here runs. */
import type { ConnectionView } from './wire.ts'

export interface ConsentLinkRequest {
  user_id: string
  provider: string
  scopes?: string[]
}

export interface ConsentLink {
  /** To be passed on to an administrator; works once. */
  url: string
  expires_at: string
}

export interface FlowRequest {
  user_id: string
  provider: string
  session_binding: string
  state?: string
  /** Seconds, at most 600. */
  expires_in?: number
  scopes?: string[]
  /** Reconnects this connection: it must come back as its account; `scopes` are asked for on top of its own. */
  connection_id?: string
}

export interface StartedFlow {
  status: 'ok'
  state: string
  authUrl: string
}

/** Without user and binding the flow is burned: that is how a ticket without a session is reported. */
export interface FlowCompletion {
  ticket: string
  user_id?: string
  session_binding?: string
}

export interface CompletedFlow {
  connection: ConnectionView
}
