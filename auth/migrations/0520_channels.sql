-- What cannot be prolonged is replaced: the new one first, then the old one is stopped. Until then, and until it has
-- expired at the provider, what the old one sends is genuine.
alter table auth.subscriptions
  add column next_secret_hash bytea unique,      -- of the one that is being made
  add column next_channel_key_id text,
  add column previous_secret_hash bytea unique,
  add column previous_provider_subscription_id text,
  add column previous_expires_at timestamptz,
  add column silent_since timestamptz;           -- a check found changes that were not pushed: to be replaced

-- Due rows: end one subscription at its provider, whose row is over or belongs to its successor by now.
create table auth.subscription_stops (
  id text primary key default gen_random_uuid()::text,
  connection_id text not null references auth.oauth_tokens (id) on delete cascade,
  provider text not null,
  resource text not null,
  provider_subscription_id text not null,
  expires_at timestamptz not null,
  due_at timestamptz default auth.clock(),
  lease_until timestamptz,
  lease_id uuid,
  claims int not null default 0,
  attempts int not null default 0,
  unique (connection_id, provider_subscription_id)
);
create index subscription_stops_due on auth.subscription_stops (due_at) where due_at is not null;

-- Due rows: ask the provider whether something changed that was not pushed.
create table auth.subscription_checks (
  id text primary key references auth.subscriptions (id) on delete cascade,
  due_at timestamptz,
  lease_until timestamptz,
  lease_id uuid,
  claims int not null default 0,
  attempts int not null default 0,
  every_seconds int check (every_seconds between 60 and 86400), -- null: as the setting says
  cursor text,                                   -- as of `checked_at`
  checked_at timestamptz,                        -- up to here everything is known to have been pushed
  suspected_at timestamptz,                      -- since then a change waits for its push
  replaced_at timestamptz,                       -- for silence, at most once a day
  listed_at timestamptz,                         -- orphans were last looked for
  missed_at timestamptz,
  missed int not null default 0
);
create index subscription_checks_due on auth.subscription_checks (due_at) where due_at is not null;

-- Those that live already, spread over an hour.
insert into auth.subscription_checks (id, due_at)
select id, auth.clock() + random() * interval '1 hour' from auth.subscriptions where state = 'active';

-- What a person or a service does not want watched.
create table auth.subscriptions_off (
  connection_id text not null references auth.oauth_tokens (id) on delete cascade,
  kind text not null,
  created_at timestamptz not null default auth.clock(),
  primary key (connection_id, kind)
);
