/** Google Workspace: sign-in, Gmail by Pub/Sub push. Facts and their sources: README.md in this folder. */
import { atPace } from '../http-answer.ts'
import type { ProviderModule } from '../provider.ts'
import { googleKeys, googleOAuth } from './oauth.ts'
import { type GoogleSettings, googleVariables, readGoogleSettings } from './settings.ts'
import { googleSubscriptions } from './subscription.ts'
import { googleWebhook } from './webhook.ts'

export const google: ProviderModule<GoogleSettings> = {
  id: 'google',
  label: 'Google Workspace',
  variables: googleVariables,
  folder: new URL('./', import.meta.url),
  readSettings: readGoogleSettings,
  open: (settings, host) => {
    // One key set for id tokens and push tokens: Google signs both with the same keys.
    const keys = googleKeys(settings, host)
    return {
      id: 'google',
      label: 'Google Workspace',
      oauth: googleOAuth(settings, host, keys),
      webhook: googleWebhook(settings, host, keys),
      subscriptions: googleSubscriptions(settings, atPace(host)),
      apis: [
        { name: 'gmail', baseUrl: `${settings.gmailUrl}/gmail/v1` },
        { name: 'gmail-upload', baseUrl: `${settings.gmailUrl}/upload/gmail/v1` },
        { name: 'drive', baseUrl: `${settings.apiUrl}/drive/v3` },
        { name: 'drive-upload', baseUrl: `${settings.apiUrl}/upload/drive/v3` },
        { name: 'calendar', baseUrl: `${settings.apiUrl}/calendar/v3` },
      ],
    }
  },
}
