/**
 * A person without a browser: does over HTTP exactly what the console's pages and the provider's consent pages do,
 * through the same public doors. It holds the session cookie and never touches the internal API or the database.
 */

import type { ConnectionView, Disconnected, EventView, Page } from '@flovify/client'
import { StartError } from './start-error.ts'

export interface Doors {
  readonly urls: { readonly console: string; readonly control: string | undefined }
  readonly secrets: { readonly controlToken: string }
}

export interface Wishes {
  /** Reconnects this one. */
  readonly connectionId?: string
  /** On top of what is asked for anyway. */
  readonly scopes?: readonly string[]
  /** What the person leaves ticked, of the API's scopes; all when absent. */
  readonly granted?: readonly string[]
}

/** The simulators' answer to `/authorize`: the request that a browser would now bring to our callback. */
type CallbackRequest =
  | { readonly method: 'GET'; readonly url: string }
  | { readonly method: 'POST'; readonly url: string; readonly contentType: string; readonly body: string }

export class Browserless {
  readonly #doors: Doors
  #cookie = ''

  constructor(doors: Doors) {
    this.#doors = doors
  }

  /** Redeems the link as the sign-in page does. */
  async signIn(signinUrl: string): Promise<void> {
    const response = await this.#console('POST', '/bff/session', { token: new URL(signinUrl).hash.slice(1) })
    await response.arrayBuffer()
    this.#cookie = response.headers.getSetCookie()[0]?.split(';')[0] ?? ''
    if (this.#cookie === '') throw new StartError('demo_incomplete', 'Signing in gave no session cookie.')
  }

  /** From the console's button over the provider's consent to the success page. */
  async connect(provider: string, account: string, wishes: Wishes = {}): Promise<ConnectionView> {
    return this.finish(await this.consent(await this.begin(provider, wishes), account, wishes.granted))
  }

  /** Presses the console's button. @returns where the provider wants the person to go */
  async begin(provider: string, wishes: Omit<Wishes, 'granted'> = {}): Promise<string> {
    const { connectionId, scopes } = wishes
    const begun = await this.#console('POST', `/bff/auth/connect/${provider}`, {
      ...(connectionId !== undefined && { connection_id: connectionId }),
      ...(scopes !== undefined && { scopes }),
    })
    return ((await begun.json()) as { authUrl: string }).authUrl
  }

  /** Answers the consent page. @returns the ticket that the success page gets */
  async consent(authUrl: string, account: string, granted?: readonly string[]): Promise<string> {
    const returned = await this.callBack(authUrl, account, granted)
    const location = returned.headers.get('location') ?? ''
    const ticket = new URLSearchParams(URL.parse(location)?.hash.slice(1) ?? '').get('ticket')
    if (returned.status !== 303 || ticket === null)
      throw new StartError(
        'demo_incomplete',
        `The callback was answered with ${returned.status} and no ticket (${location.split('#')[0]}).`,
      )
    return ticket
  }

  /** The browser as it comes back from a consent page of the simulators. @returns our answer, not followed */
  async callBack(authUrl: string, account: string, granted?: readonly string[]): Promise<Response> {
    const callback = (await this.#control('/authorize', {
      authUrl,
      account,
      ...(granted !== undefined && { scopes: granted }),
    })) as CallbackRequest
    const returned = await fetch(callback.url, {
      method: callback.method,
      ...(callback.method === 'POST' && {
        headers: { 'content-type': callback.contentType },
        body: callback.body,
      }),
      redirect: 'manual',
    })
    await returned.arrayBuffer()
    return returned
  }

  async finish(ticket: string): Promise<ConnectionView> {
    const finished = await this.#console('POST', '/bff/auth/finish', { ticket })
    return ((await finished.json()) as { connection: ConnectionView }).connection
  }

  /** A link for an administrator. */
  async linkForAdmin(provider: string): Promise<string> {
    return (
      (await (await this.#console('POST', `/bff/auth/admin-consent/${provider}`, {})).json()) as {
        url: string
      }
    ).url
  }

  async connections(): Promise<ConnectionView[]> {
    return ((await (await this.#console('GET', '/bff/connections')).json()) as Page<ConnectionView>).items
  }

  /** Says what happens at the provider. */
  async disconnect(connectionId: string): Promise<Disconnected> {
    return (await (await this.#console('DELETE', `/bff/connections/${connectionId}`)).json()) as Disconnected
  }

  async events(): Promise<EventView[]> {
    const response = await this.#console('GET', '/bff/events?limit=100')
    return ((await response.json()) as Page<EventView>).items
  }

  /** Somebody writes to the account. */
  async sendMessage(provider: string, account: string, subject: string): Promise<void> {
    await this.#control('/message', { provider, account, subject })
  }

  async #console(method: string, path: string, body?: unknown): Promise<Response> {
    const response = await fetch(`${this.#doors.urls.console}${path}`, {
      method,
      headers: {
        origin: this.#doors.urls.console,
        'x-requested-with': 'flovify-console',
        ...(this.#cookie !== '' && { cookie: this.#cookie }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(15_000),
    })
    if (response.ok) return response
    throw await refused(`${method} ${path.split('?')[0]}`, response)
  }

  async #control(path: string, body: unknown): Promise<unknown> {
    const response = await fetch(`${this.#doors.urls.control}${path}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${this.#doors.secrets.controlToken}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(15_000),
    })
    if (response.ok) return response.status === 204 ? undefined : response.json()
    throw await refused(`the simulators' POST ${path}`, response)
  }
}

async function refused(what: string, response: Response): Promise<StartError> {
  const text = (await response.text()).slice(0, 300)
  return new StartError('demo_incomplete', `${what} was answered with ${response.status}: ${text}`)
}
