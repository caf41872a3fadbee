/** What simulated providers know of the service: its clients, and a place for pushes that nobody listens at. */
type Name = 'google' | 'microsoft'

/** @param door public origin of the service @param ports where they listen; 0: anywhere */
export function simulatedApps(door: string, ports: Readonly<Record<Name, number>>) {
  const app = (name: Name) => ({
    port: ports[name],
    clientId: `client-of-${name}`,
    clientSecret: `secret-of-${name}`,
    redirectUris: [`${door}/webhook/oauth/${name}/callback`],
  })
  return {
    microsoft: app('microsoft'),
    google: {
      ...app('google'),
      pubsub: {
        topic: 'projects/project/topics/gmail',
        subscription: 'projects/project/subscriptions/gmail',
        audience: 'https://webhooks.example.com/webhook/events/google',
        serviceAccount: 'push@project.iam.gserviceaccount.com',
        pushUrl: 'http://127.0.0.1:9/webhook/events/google',
      },
    },
  }
}
