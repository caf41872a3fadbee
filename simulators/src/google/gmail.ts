/**
 * Gmail's watch, stop, profile, history and messages (protocols/google.md §3), for the account of the token.
 * Read only apart from the watch: mail arrives through the control API.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Mail } from '../accounts.ts'
import { takeAnswer } from '../faults.ts'
import { jsonBody } from '../server.ts'
import type { HeldToken } from '../tokens.ts'
import { apiCaller, sendError } from './api.ts'
import { opensGmail } from './scopes.ts'
import { findGoogleAccount, type GoogleWorld, historyOf, liveWatch, mailboxOf } from './world.ts'

const watchLifetimeMs = 7 * 86_400_000
type Of = { Params: { user: string } }

/** @param publish sends a push about the account's mailbox; a watch does so at once */
export function serveGmail(
  server: FastifyInstance,
  world: GoogleWorld,
  publish: (account: string) => void,
): void {
  server.post<Of>('/gmail/v1/users/:user/watch', async (request, reply) => {
    const fixed = takeAnswer(world.faults, 'subscriptionError')
    if (fixed !== null) return reply.code(fixed.status).headers(fixed.headers).send(fixed.body)
    const caller = callerOf(world, request, reply, request.params.user)
    if (caller === null) return reply
    const body = jsonBody(request)
    const topic = body?.topicName
    if (body === null || typeof topic !== 'string') {
      return sendError(reply, 400, 'invalidArgument', 'Invalid topicName', 'INVALID_ARGUMENT')
    }
    const active = liveWatch(world, caller.account)
    if (active !== null && active.topic !== topic) {
      const message =
        'Only one user push notification client allowed per developer (call /stop then try again)'
      return sendError(reply, 400, 'failedPrecondition', message, 'FAILED_PRECONDITION')
    }
    if (topic !== world.options.pubsub.topic) {
      const message = 'Error sending test message to Cloud PubSub : Resource not found (resource=topic).'
      return sendError(reply, 404, 'notFound', message, 'NOT_FOUND')
    }
    const behaviour = String(body.labelFilterBehavior ?? 'include').toLowerCase()
    if (behaviour !== 'include' && behaviour !== 'exclude') {
      return sendError(reply, 400, 'invalidArgument', 'Invalid labelFilterBehavior', 'INVALID_ARGUMENT')
    }
    const labelIds = Array.isArray(body.labelIds) ? body.labelIds.map(String) : []
    const expiresAt = world.now() + watchLifetimeMs
    world.watches.set(caller.account, { topic, labelIds, exclude: behaviour === 'exclude', expiresAt })
    publish(caller.account)
    return reply.send({
      historyId: `${historyOf(world, caller.account).current}`,
      expiration: `${expiresAt}`,
    })
  })

  server.post<Of>('/gmail/v1/users/:user/stop', async (request, reply) => {
    const caller = callerOf(world, request, reply, request.params.user)
    if (caller === null) return reply
    world.watches.delete(caller.account)
    return reply.send({})
  })

  server.get<Of>('/gmail/v1/users/:user/profile', async (request, reply) => {
    const caller = callerOf(world, request, reply, request.params.user)
    if (caller === null) return reply
    const total = mailboxOf(world, caller.account).mails.length
    const historyId = `${historyOf(world, caller.account).current}`
    return reply.send({ emailAddress: caller.account, messagesTotal: total, threadsTotal: total, historyId })
  })

  server.get<Of & { Querystring: { startHistoryId?: string; maxResults?: string; pageToken?: string } }>(
    '/gmail/v1/users/:user/history',
    async (request, reply) => {
      const caller = callerOf(world, request, reply, request.params.user)
      if (caller === null) return reply
      const { startHistoryId, maxResults, pageToken } = request.query
      if (startHistoryId === undefined || !/^\d{1,20}$/.test(startHistoryId)) {
        return sendError(
          reply,
          400,
          'invalidArgument',
          'Missing or invalid startHistoryId',
          'INVALID_ARGUMENT',
        )
      }
      if (world.faults.historyExpired || BigInt(startHistoryId) < 1_000n) {
        return sendError(reply, 404, 'notFound', 'Requested entity was not found.', 'NOT_FOUND')
      }
      const history = historyOf(world, caller.account)
      const from = Math.max(Number.parseInt(pageToken ?? '0', 10) || 0, 0)
      const size = Math.min(Math.max(Number.parseInt(maxResults ?? '100', 10) || 100, 1), 500)
      const all = history.records.filter((record) => record.id > BigInt(startHistoryId))
      const page = all.slice(from, from + size)
      return reply.send({
        ...(page.length > 0
          ? { history: page.map((record) => presentRecord(`${record.id}`, record.messageId)) }
          : {}),
        ...(from + size < all.length ? { nextPageToken: String(from + size) } : {}),
        historyId: `${history.current}`,
      })
    },
  )

  server.get<Of>('/gmail/v1/users/:user/messages', async (request, reply) => {
    const caller = callerOf(world, request, reply, request.params.user)
    if (caller === null) return reply
    const newest = [...mailboxOf(world, caller.account).mails].reverse().slice(0, 100)
    const messages = newest.map((mail) => ({ id: mail.id, threadId: mail.id }))
    return reply.send({ ...(messages.length > 0 ? { messages } : {}), resultSizeEstimate: messages.length })
  })

  server.get<{ Params: { user: string; id: string } }>(
    '/gmail/v1/users/:user/messages/:id',
    async (request, reply) => {
      const caller = callerOf(world, request, reply, request.params.user)
      if (caller === null) return reply
      const mail = mailboxOf(world, caller.account).mails.find((one) => one.id === request.params.id)
      if (mail === undefined)
        return sendError(reply, 404, 'notFound', 'Requested entity was not found.', 'NOT_FOUND')
      return reply.send(presentMail(world, caller.account, mail))
    },
  )
}

const mailLabels = ['UNREAD', 'INBOX']

/** Whether the watch's label filter lets a new mail of the inbox through. */
export function wantsInbox(labelIds: readonly string[], exclude: boolean): boolean {
  if (labelIds.length === 0) return true
  return labelIds.some((label) => mailLabels.includes(label)) !== exclude
}

function callerOf(
  world: GoogleWorld,
  request: FastifyRequest,
  reply: FastifyReply,
  user: string,
): HeldToken | null {
  const caller = apiCaller(world, request, reply, opensGmail)
  if (caller === null) return null
  if (user !== 'me' && findGoogleAccount(user)?.email !== caller.account) {
    sendError(reply, 403, 'forbidden', `Delegation denied for ${caller.account}`, 'PERMISSION_DENIED')
    return null
  }
  return caller
}

function presentRecord(id: string, messageId: string) {
  const message = { id: messageId, threadId: messageId }
  return { id, messages: [message], messagesAdded: [{ message: { ...message, labelIds: mailLabels } }] }
}

function presentMail(world: GoogleWorld, account: string, mail: Mail) {
  const record = historyOf(world, account).records.find((one) => one.messageId === mail.id)
  return {
    id: mail.id,
    threadId: mail.id,
    labelIds: mailLabels,
    snippet: mail.subject,
    historyId: `${record?.id ?? 0n}`,
    internalDate: `${Date.parse(mail.receivedAt)}`,
    payload: {
      mimeType: 'text/plain',
      headers: [
        { name: 'From', value: 'Simulated sender <sender@example.test>' },
        { name: 'To', value: account },
        { name: 'Subject', value: mail.subject },
      ],
    },
  }
}
