/**
 * The little of Graph that one reads after a notification: the person and the messages of the mailbox.
 * Mail arrives through the control API only; what is sent is accepted and not kept.
 */
import type { FastifyInstance } from 'fastify'
import type { Mail } from '../accounts.ts'
import { jsonBody } from '../server.ts'
import type { HeldToken } from '../tokens.ts'
import { callerOf, sendGraphError } from './graph.ts'
import { includesScope } from './scopes.ts'
import { findMicrosoftAccount, type MicrosoftWorld, mailboxOf } from './world.ts'

export function serveMail(server: FastifyInstance, world: MicrosoftWorld): void {
  server.get('/v1.0/me', async (request, reply) => {
    const caller = callerOf(world, request, reply)
    if (caller === null) return reply
    const account = findMicrosoftAccount(caller.account)
    return reply.send({
      '@odata.context': `${world.origin}/v1.0/$metadata#users/$entity`,
      id: account?.oid,
      displayName: account?.name,
      mail: account?.email,
      userPrincipalName: account?.email,
    })
  })

  server.get<{ Querystring: { $top?: string } }>('/v1.0/me/messages', async (request, reply) => {
    const caller = callerOf(world, request, reply)
    if (caller === null) return reply
    if (!mayRead(caller)) return sendGraphError(world, request, reply, 403, 'ErrorAccessDenied', denied)
    const top = Math.min(Math.max(Number.parseInt(request.query.$top ?? '10', 10) || 10, 1), 1000)
    const newest = [...mailboxOf(world, caller.account).mails].reverse().slice(0, top)
    return reply.send({
      '@odata.context': `${world.origin}/v1.0/$metadata#users('me')/messages`,
      value: newest.map((mail) => presentMail(mail, caller.account)),
    })
  })

  server.post('/v1.0/me/sendMail', async (request, reply) => {
    const caller = callerOf(world, request, reply)
    if (caller === null) return reply
    if (!includesScope(caller.scopes, 'Mail.Send')) {
      return sendGraphError(world, request, reply, 403, 'ErrorAccessDenied', denied)
    }
    const body = jsonBody(request)
    if (typeof body?.message !== 'object') {
      return sendGraphError(world, request, reply, 400, 'BadRequest', 'Unable to read JSON request payload.')
    }
    return reply.code(202).send()
  })

  server.get<{ Params: { id: string } }>('/v1.0/me/messages/:id', async (request, reply) => {
    const caller = callerOf(world, request, reply)
    if (caller === null) return reply
    if (!mayRead(caller)) return sendGraphError(world, request, reply, 403, 'ErrorAccessDenied', denied)
    const mail = mailboxOf(world, caller.account).mails.find((one) => one.id === request.params.id)
    if (mail === undefined) {
      return sendGraphError(
        world,
        request,
        reply,
        404,
        'ErrorItemNotFound',
        'The specified object was not found in the store.',
      )
    }
    return reply.send(presentMail(mail, caller.account))
  })
}

const denied = 'Access is denied. Check credentials and try again.'

function mayRead(caller: HeldToken): boolean {
  return ['Mail.Read', 'Mail.ReadBasic', 'Mail.ReadWrite'].some((scope) =>
    includesScope(caller.scopes, scope),
  )
}

export function etagOf(mail: Mail): string {
  return `W/"${mail.version}"`
}

export function presentMail(mail: Mail, account: string) {
  const address = (name: string, email: string) => ({ emailAddress: { name, address: email } })
  return {
    '@odata.etag': etagOf(mail),
    id: mail.id,
    receivedDateTime: mail.receivedAt,
    lastModifiedDateTime: mail.receivedAt,
    subject: mail.subject,
    bodyPreview: `Hello, this is about ${mail.subject}`,
    isRead: false,
    from: address('Simulated sender', 'sender@example.test'),
    toRecipients: [address(findMicrosoftAccount(account)?.name ?? '', account)],
  }
}
