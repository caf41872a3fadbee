-- Notifications, events, deliveries. What grows is partitioned by day; no foreign key points to a partition.
-- Payloads are bytea: bytes are evidence, and one NUL must not abort a group.

create table auth.notifications (
  id text not null,
  received_at timestamptz not null,
  provider text not null,
  ref text,                                  -- our subscription id, once proven
  headers bytea not null,                    -- JSON of an allow-list of headers, never credentials
  body bytea not null,
  body_sha256 bytea not null
) partition by range (received_at);
create index notifications_id on auth.notifications (id);

create table auth.events (
  id text not null,
  recorded_at timestamptz not null,
  tx xid8 not null default pg_current_xact_id(),
  seq bigint generated always as identity,
  notification_id text,
  connection_id text,
  owner_id text,                             -- null: relays, seen by admins only
  provider text,
  type text not null,                        -- with prefix
  origin_type text,
  source text not null,
  subject text,
  time timestamptz,
  data bytea not null                        -- the CloudEvent as delivered, JSON in UTF-8
) partition by range (recorded_at);
create index events_id on auth.events (id);
create index events_newest on auth.events (recorded_at desc, id desc);
create index events_owner on auth.events (owner_id, recorded_at desc, id desc);

-- Exact dedupe: connection (or provider, for relays) and the provider's own identity, hashed. Not partitioned.
create table auth.event_keys (
  scope text not null,
  identity bytea not null,
  event_id text not null,
  recorded_at timestamptz not null,
  primary key (scope, identity)
);
create index event_keys_age on auth.event_keys (recorded_at);

create table auth.destinations (
  id text primary key,
  name text not null,
  url text not null,
  data_key text not null,
  secret text not null,                      -- sealed whsec_…
  concurrency int not null default 10 check (concurrency between 1 and 1000),
  rate_per_second int check (rate_per_second > 0),
  timeout_ms int not null default 15000 check (timeout_ms between 100 and 30000),
  paused boolean not null default false,
  -- token bucket of rate_per_second, computed where the claim locks the row
  tokens double precision not null default 0,
  tokens_at timestamptz not null default auth.clock(),
  last_served_at timestamptz not null default '-infinity',
  created_at timestamptz not null default auth.clock(),
  deleted_at timestamptz
);

create table auth.rules (
  id text primary key,
  name text not null,
  destination_id text not null references auth.destinations (id),
  -- empty array: any. Types are patterns without prefix and version: mail.mailbox.notified, mail.*
  types text[] not null default '{}',
  providers text[] not null default '{}',
  connections text[] not null default '{}',
  enabled boolean not null default true,
  created_at timestamptz not null default auth.clock()
);

-- Bumped by every change of rules or destinations; read by the statement that stores.
create table auth.rule_revision (
  one boolean primary key default true check (one),
  revision bigint not null default 1
);
insert into auth.rule_revision default values;

create function auth.bump_rule_revision() returns trigger language plpgsql as $$
  begin
    update auth.rule_revision set revision = revision + 1;
    return null;
  end
  $$;
create trigger rules_changed after insert or update or delete on auth.rules
  for each statement execute function auth.bump_rule_revision();
create trigger destinations_made after insert or update of deleted_at or delete on auth.destinations
  for each statement execute function auth.bump_rule_revision();

-- Open and dead deliveries: a due row of its own kind. Finished ones move to delivery_outcomes.
create table auth.deliveries (
  id text primary key,
  event_id text not null,
  event_recorded_at timestamptz not null,
  destination_id text not null references auth.destinations (id),
  rule_id text not null,
  state text not null default 'open' check (state in ('open', 'dead')),
  reason text,
  due_at timestamptz,
  lease_until timestamptz,
  lease_id uuid,
  claims int not null default 0,
  attempts int not null default 0,
  created_at timestamptz not null,
  check ((state = 'dead') = (due_at is null))
) with (fillfactor = 70);
create index deliveries_due on auth.deliveries (destination_id, due_at) where due_at is not null;
create index deliveries_event on auth.deliveries (event_id);
create index deliveries_event_day on auth.deliveries (event_recorded_at);
alter table auth.deliveries set (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);

create table auth.attempts (
  delivery_id text not null,
  event_id text not null,
  destination_id text not null,
  number int not null,
  started_at timestamptz not null,
  duration_ms double precision not null,
  outcome text not null check (outcome in ('delivered', 'failed')),
  status int,
  error text
) partition by range (started_at);
create index attempts_delivery on auth.attempts (delivery_id, number);

create table auth.delivery_outcomes (
  id text not null,
  event_id text not null,
  event_recorded_at timestamptz not null,
  destination_id text not null,
  rule_id text not null,
  state text not null check (state in ('delivered', 'cancelled', 'expired')),
  reason text,
  attempts int not null,
  created_at timestamptz not null,
  finished_at timestamptz not null
) partition by range (finished_at);
create index delivery_outcomes_event on auth.delivery_outcomes (event_id);

select auth.ensure_days((now() at time zone 'UTC')::date - 1, (now() at time zone 'UTC')::date + 7);
