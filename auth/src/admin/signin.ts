/** The command that makes a one-time sign-in link: the way in for whoever has a shell where the service runs. */
import { makeSigninLink } from '../connections/sessions.ts'
import { type CommandFamily, type Place, textOption } from './command.ts'

export const signinCommands: CommandFamily = {
  'signin-link': {
    usage: '--user <e-mail> --role user|admin',
    summary: 'makes a one-time sign-in link, valid for ten minutes',
    options: { user: { type: 'string' }, role: { type: 'string' } },
    needs: 'database',
    run: (place, asked) => signinLink(place, textOption(asked, 'user'), textOption(asked, 'role')),
  },
}

async function signinLink(place: Place, user: string | undefined, role: string | undefined) {
  if (user === undefined || !/^[^@\s]+@[^@\s]+$/.test(user) || (role !== 'user' && role !== 'admin')) {
    place.complain('signin-link needs --user <e-mail> and --role user or --role admin')
    return 2
  }
  const link = await makeSigninLink({ db: place.db }, { email: user, role, actor: 'admin-cli' })
  if (link.kind === 'unknown_user') {
    place.complain('the user table of the platform has no such user: create the user there first')
    return 1
  }
  place.say(`${place.config.consoleOrigin}/signin#${link.token}`)
  place.say(`Valid until ${link.expiresAt.toISOString()}, once.`)
  return 0
}
