-- Leaving: what is still to be done at a provider after a disconnect, what it says about an account, and users who go.

-- Due rows: end a connection at its provider: its subscriptions first, while a token still works, then its grant. The
-- tokens stay sealed in the connection's own row, whose status `revoking` gives them to nobody.
create table auth.revocations (
  id text primary key references auth.oauth_tokens (id) on delete cascade,
  begun_at timestamptz not null default auth.clock(),
  due_at timestamptz default auth.clock(),
  lease_until timestamptz,
  lease_id uuid,
  claims int not null default 0,
  attempts int not null default 0
);
create index revocations_due on auth.revocations (due_at) where due_at is not null;

-- Set once the provider no longer holds it (or it could not be told any more).
alter table auth.subscriptions add column ended_at_provider timestamptz;
create index oauth_tokens_account on auth.oauth_tokens (provider, account_key);

-- Due rows: what a provider said about an account (security events), stored before it is acknowledged.
create table auth.account_signals (
  id text primary key,                       -- the provider's own id of the event, hashed: said twice is said once
  provider text not null,
  account_key text,                          -- null: about no account (a verification)
  kind text not null,
  detail text,
  received_at timestamptz not null default auth.clock(),
  due_at timestamptz default auth.clock(),   -- null: done
  lease_until timestamptz,
  lease_id uuid,
  claims int not null default 0,
  attempts int not null default 0
);
create index account_signals_due on auth.account_signals (due_at) where due_at is not null;
create index account_signals_age on auth.account_signals (received_at);

-- Due rows: everything of one user is ended and deleted, in small steps. The receipt stays; it names nobody.
create table auth.erasures (
  id text primary key,
  owner_hash bytea not null unique,          -- SHA-256: who asks again gets the same receipt
  owner_id text,                             -- null once finished
  reason text not null check (reason in ('requested', 'vanished')),
  requested_at timestamptz not null default auth.clock(),
  finished_at timestamptz,
  counts jsonb not null default '{}',
  due_at timestamptz default auth.clock(),
  lease_until timestamptz,
  lease_id uuid,
  claims int not null default 0,
  attempts int not null default 0
);
create index erasures_due on auth.erasures (due_at) where due_at is not null;
create index sessions_family on auth.sessions (family_id) where revoked_at is null;
