/**
 * The people who can sign in at the simulators, fixed so that tests can name them, each with a mailbox.
 * Nothing here is a real person, tenant or address.
 */
import { randomBytes } from 'node:crypto'

/** The tenant of personal accounts (protocols/microsoft.md §1.1). */
export const personalTenant = '9188040d-6c67-4c5b-b112-36a304b66dad'
export const contosoTenant = '7d1a5c02-9f0e-4b6e-8a53-1c2f64d0a801'
export const fabrikamTenant = '2b8f7e14-63d5-4c0a-9e21-5fa0c7b3d902'

export interface MicrosoftAccount {
  email: string
  name: string
  tid: string
  oid: string
  /** May consent for the whole tenant. */
  admin?: true
}

export interface GoogleAccount {
  email: string
  name: string
  sub: string
  hd: string
}

export const microsoftAccounts: readonly MicrosoftAccount[] = [
  {
    email: 'adele@contoso.test',
    name: 'Adele Vance',
    tid: contosoTenant,
    oid: '0a6c1f52-4d3b-4e7a-b1c8-90d2e3f4a501',
  },
  {
    email: 'bruno@contoso.test',
    name: 'Bruno Keller',
    tid: contosoTenant,
    oid: '1b7d2063-5e4c-4f8b-a2d9-a1e3f405b602',
  },
  {
    email: 'carla@fabrikam.test',
    name: 'Carla Rossi',
    tid: fabrikamTenant,
    oid: '2c8e3174-6f5d-4a9c-93ea-b2f40516c703',
  },
  {
    email: 'dora@outlook.test',
    name: 'Dora Nilsen',
    tid: personalTenant,
    oid: '00000000-0000-0000-5d6e-c3051627d804',
  },
  {
    email: 'admin@contoso.test',
    name: 'Eva Brandt (administrator)',
    tid: contosoTenant,
    oid: '3d9f4285-7a6e-4bad-84fb-d4162738e905',
    admin: true,
  },
]

export const googleAccounts: readonly GoogleAccount[] = [
  { email: 'gita@flow.test', name: 'Gita Rao', sub: '104857600000000000001', hd: 'flow.test' },
  { email: 'hugo@flow.test', name: 'Hugo Martin', sub: '104857600000000000002', hd: 'flow.test' },
]

/** Verified domains that may stand in the tenant segment of a URL. */
export const tenantDomains: ReadonlyMap<string, string> = new Map([
  ['contoso.test', contosoTenant],
  ['fabrikam.test', fabrikamTenant],
])

export interface Mail {
  id: string
  subject: string
  receivedAt: string
  /** Changes with every change of the mail: Graph's `@odata.etag` is made of it. */
  version: string
}

export interface Mailbox {
  mails: Mail[]
}

export function createMailboxes(accounts: readonly { email: string }[]): Map<string, Mailbox> {
  return new Map(accounts.map((account) => [account.email, { mails: [] }]))
}

export function receiveMail(mailbox: Mailbox, id: string, subject: string, now: number): Mail {
  const version = randomBytes(12).toString('base64')
  const mail = { id, subject, receivedAt: new Date(now).toISOString(), version }
  mailbox.mails.push(mail)
  return mail
}
