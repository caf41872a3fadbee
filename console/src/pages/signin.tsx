/**
 * Signing in by a one-time link. Asks before the link is redeemed, so that a link that somebody else sent signs nobody
 * in unseen; never replaces a running session.
 */
import { type ReactNode, useSyncExternalStore } from 'react'
import { currentFragment, dropFragment, onFragment } from '../fragment.ts'
import { Notice } from '../parts/notice.tsx'
import { useSession, useSignIn, useSignOut } from '../queries.ts'
import { Link, navigate, PageHeading } from '../router.tsx'

export function SignInPage(): ReactNode {
  const fragment = useSyncExternalStore(onFragment, currentFragment)
  const token = fragment?.path === '/signin' ? fragment.text : undefined
  const presence = useSession().data
  return (
    <div className="narrow">
      {presence?.kind === 'signed_in' ? (
        <Running name={presence.session.email} linkGiven={token !== undefined} />
      ) : token !== undefined ? (
        <Ask token={token} />
      ) : (
        <HowTo platform={presence?.kind === 'signed_out' && presence.platform} />
      )}
    </div>
  )
}

function Ask({ token }: { token: string }): ReactNode {
  const signIn = useSignIn()
  const redeem = (): void =>
    signIn.mutate(
      { token },
      {
        onSuccess: () => {
          dropFragment()
          navigate('/connections')
        },
      },
    )
  const wrong = signIn.isError && [400, 401].includes(statusOf(signIn.error))
  return (
    <section className="card hero" aria-labelledby="ask">
      <div id="ask">
        <PageHeading>Sign in to Flovify Connect?</PageHeading>
      </div>
      <p>
        This link signs you in at <strong>{window.location.host}</strong>. It works once.
      </p>
      <p className="muted">Continue only if you asked for this link yourself.</p>
      {signIn.isError && (
        <div className="notice notice-bad" role="alert">
          <h2>{wrong ? 'This link does not work' : 'Signing in did not work'}</h2>
          {wrong ? (
            <p>
              It was used before, is older than ten minutes, or is incomplete. Ask the person who sent it for
              a new one. On your own machine, restart with <code>npm start</code>: it prints a fresh link.
            </p>
          ) : (
            <p>{signIn.error.message}</p>
          )}
        </div>
      )}
      <div className="actions">
        {!wrong && (
          <button type="button" className="primary" onClick={redeem} disabled={signIn.isPending}>
            {signIn.isPending ? 'Signing in…' : signIn.isError ? 'Try again' : 'Sign in'}
          </button>
        )}
      </div>
    </section>
  )
}

function Running({ name, linkGiven }: { name: string; linkGiven: boolean }): ReactNode {
  const signOut = useSignOut()
  return (
    <section className="card hero">
      <PageHeading>You are signed in already</PageHeading>
      <p>
        This browser is signed in as <strong>{name}</strong>.
      </p>
      {linkGiven && (
        <p className="muted">
          The sign-in link was not used. To sign in as somebody else with it, sign out first.
        </p>
      )}
      <div className="actions">
        <Link className="button primary" to="/connections" onClickCapture={dropFragment}>
          Go to connections
        </Link>
        <button type="button" onClick={() => signOut.mutate()} disabled={signOut.isPending}>
          Sign out
        </button>
      </div>
    </section>
  )
}

function HowTo({ platform }: { platform: boolean }): ReactNode {
  const signIn = useSignIn()
  return (
    <section className="card hero">
      <PageHeading>Sign in with a link</PageHeading>
      <p>You sign in with a link that works once, for ten minutes. Open it in this browser.</p>
      <dl className="ways">
        <dt>On your own machine</dt>
        <dd>
          <code>npm start</code> prints a link when it starts.
        </dd>
        <dt>On a server</dt>
        <dd>
          Ask your administrator. They make one with <code>npm run admin -- signin-link</code>.
        </dd>
      </dl>
      {platform && (
        <div className="actions">
          <button
            type="button"
            className="primary"
            onClick={() => signIn.mutate({ platform: true })}
            disabled={signIn.isPending}
          >
            Continue with your Flovify session
          </button>
        </div>
      )}
      {signIn.isError && (
        <Notice tone="bad">
          <p role="alert">That session cannot be used here: sign in to Flovify again, or use a link.</p>
        </Notice>
      )}
    </section>
  )
}

function statusOf(error: Error): number {
  return 'status' in error && typeof error.status === 'number' ? error.status : 0
}
