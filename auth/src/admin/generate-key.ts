/** The command that makes an encryption key for a first start. It needs no configuration and stores nothing. */
import { randomBytes } from 'node:crypto'
import type { CommandFamily } from './command.ts'

/** 32 random bytes in the form of ENCRYPTION_KEY: URL-safe base64 with its padding. */
export const newKeyText = (): string => `${randomBytes(32).toString('base64url')}=`

export const generateKeyCommands: CommandFamily = {
  'generate-key': {
    usage: '',
    summary: 'prints a new key for ENCRYPTION_KEY or ENCRYPTION_KEYS',
    options: {},
    needs: 'nothing',
    run: (terminal) => {
      terminal.say(newKeyText())
      return 0
    },
  },
}
