-- Connections, the flows that make them, sessions, subscriptions.
-- user_id takes the type of auth.users.id, whatever that is; code reads it as text.

do $do$
declare
  id_type text := (
    select format_type(atttypid, atttypmod) from pg_attribute
     where attrelid = 'auth.users'::regclass and attname = 'id');
begin
  execute format($sql$
    -- One connection: one account at one provider, linked by one user. Both token columns are sealed text.
    create table auth.oauth_tokens (
      id text primary key,
      user_id %1$s references auth.users (id) on delete set null,
      owner_id text not null,                -- the user's id for ever, also when the user is gone: feeds the vault's context
      provider text not null,
      account_key text not null,
      account_label text not null,
      account_address text,
      tenant text,
      status text not null check (status in
        ('active', 'partial', 'reauth_required', 'admin_required', 'revoking', 'revoked', 'vault_error')),
      status_reason text,
      data_key text,                         -- wrapped; null once wiped: then nothing of this row can be opened
      access_token text,
      refresh_token text,
      expires_at timestamptz,
      scope text not null default '',        -- granted, space separated, in our spelling
      scope_requested text not null default '',
      version int not null default 1,
      created_at timestamptz not null default auth.clock(),
      updated_at timestamptz not null default auth.clock(),
      unique (owner_id, provider, account_key)
    )
  $sql$, id_type);

  execute format($sql$
    -- One attempt to connect, from authorization request to completion. Hashes and sealed text only.
    create table auth.oauth_states (
      id text primary key,
      state_hash bytea not null unique,
      provider text not null,
      user_id %1$s references auth.users (id) on delete cascade,
      owner_id text not null,
      session_binding bytea not null,
      status text not null default 'created'
        check (status in ('created', 'returned', 'exchanging', 'done', 'failed', 'rejected', 'expired')),
      reason text,
      issuer text not null,
      redirect_uri text not null,
      scopes text not null,
      data_key text,
      verifier text,
      nonce text,
      code text,
      ticket_hash bytea unique,
      connection_id text,
      created_at timestamptz not null default auth.clock(),
      expires_at timestamptz not null,
      returned_at timestamptz,
      finished_at timestamptz,
      -- what ended holds no secret any more
      check (status in ('created', 'returned', 'exchanging') or (data_key is null and verifier is null and nonce is null and code is null))
    )
  $sql$, id_type);

  execute format($sql$
    create table auth.sessions (
      token_hash bytea primary key,
      family_id text not null,
      user_id %1$s not null references auth.users (id) on delete cascade,
      role text not null check (role in ('user', 'admin')),
      created_at timestamptz not null default auth.clock(),
      expires_at timestamptz not null,
      revoked_at timestamptz
    )
  $sql$, id_type);

  execute format($sql$
    create table auth.signin_links (
      token_hash bytea primary key,
      user_id %1$s not null references auth.users (id) on delete cascade,
      role text not null check (role in ('user', 'admin')),
      created_at timestamptz not null default auth.clock(),
      expires_at timestamptz not null,
      used_at timestamptz
    )
  $sql$, id_type);
end
$do$;

create index oauth_tokens_address on auth.oauth_tokens (provider, account_address) where account_address is not null;
create index oauth_states_open on auth.oauth_states (owner_id) where status in ('created', 'returned', 'exchanging');
create index oauth_states_unfinished on auth.oauth_states (created_at) where status in ('created', 'returned', 'exchanging');

-- A lease at the provider that makes it notify us. Of the channel secret only its hash is kept.
create table auth.subscriptions (
  id text primary key,
  connection_id text not null references auth.oauth_tokens (id) on delete cascade,
  provider text not null,
  kind text not null,
  resource text not null,
  state text not null default 'wanted' check (state in ('wanted', 'active', 'failed', 'stopped')),
  provider_subscription_id text,
  channel_secret_hash bytea unique,
  cursor text,
  expires_at timestamptz,
  last_notification_at timestamptz,
  failure_code text,
  created_at timestamptz not null default auth.clock(),
  updated_at timestamptz not null default auth.clock()
);
create index subscriptions_connection on auth.subscriptions (connection_id);

-- Due rows: create (and, later, renew) a subscription.
create table auth.subscription_renewals (
  id text primary key references auth.subscriptions (id) on delete cascade,
  due_at timestamptz,
  lease_until timestamptz,
  lease_id uuid,
  claims int not null default 0,
  attempts int not null default 0
);
create index subscription_renewals_due on auth.subscription_renewals (due_at) where due_at is not null;
