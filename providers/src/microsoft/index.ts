/** Microsoft 365: the identity platform and Graph. Facts and their sources: README.md in this folder. */
import { atPace } from '../http-answer.ts'
import type { ProviderModule } from '../provider.ts'
import { microsoftOAuth } from './oauth.ts'
import { type MicrosoftSettings, microsoftVariables, readMicrosoftSettings } from './settings.ts'
import { microsoftSubscriptions } from './subscription.ts'
import { microsoftWebhook } from './webhook.ts'

export const microsoft: ProviderModule<MicrosoftSettings> = {
  id: 'microsoft',
  label: 'Microsoft 365',
  variables: microsoftVariables,
  folder: new URL('./', import.meta.url),
  readSettings: readMicrosoftSettings,
  // 500 and 25 in 20 seconds for the app in one tenant: all accounts may be of one (protocols/microsoft.md §2.8)
  callLimits: { changesPerSecond: 25, listsPerSecond: 1 },
  open: (settings, host) => ({
    id: 'microsoft',
    label: 'Microsoft 365',
    clientSecretExpiresAt: settings.clientSecretExpiresAt,
    oauth: microsoftOAuth(settings, host),
    webhook: microsoftWebhook(settings, host),
    subscriptions: microsoftSubscriptions(settings, atPace(host)),
    apis: [{ name: 'graph', baseUrl: settings.graphUrl }],
  }),
}
