-- What a destination can take, and how it is doing. The breaker is a column of the row that the claim locks anyway, so
-- that it holds over all processes; attempts are what it is judged by, so there are no counters to keep in step.
alter table auth.destinations
  add column breaker text not null default 'closed' check (breaker in ('closed', 'open')),
  add column breaker_changed_at timestamptz not null default '-infinity',
  add column probe_at timestamptz,           -- while open: the next single delivery is not claimed before
  add column failing_since timestamptz,      -- first failure since the last success, once failing was told
  -- what was claimed lately, in steps of 50 ms: a sliding window, where a bucket would let its burst come on top
  add column recent_at timestamptz[] not null default '{}',
  add column recent_claims int[] not null default '{}',
  add check ((breaker = 'open') = (probe_at is not null));
alter table auth.destinations drop column tokens, drop column tokens_at;

-- A retry by a person begins the plan anew: tries of the plan are `attempts` beyond `plan_start`.
alter table auth.deliveries
  add column plan_start int not null default 0,
  add column dead_at timestamptz;
update auth.deliveries set dead_at = auth.clock() where state = 'dead';
alter table auth.deliveries add check ((state = 'dead') = (dead_at is not null));
create index deliveries_dead on auth.deliveries (destination_id, dead_at, id) where due_at is null;

-- Lists are read destination by destination, each from the front of its index, and merged.
create index delivery_outcomes_destination on auth.delivery_outcomes (destination_id, finished_at desc, id desc);
create index delivery_outcomes_undelivered on auth.delivery_outcomes (destination_id, finished_at desc, id desc)
  where state <> 'delivered';

-- What happened in an attempt. Headers (JSON) and the first 4 KiB of the body as bytes, with our secrets in them redacted.
alter table auth.attempts
  add column phases jsonb,
  add column response_headers bytea,
  add column response_body bytea;
create index attempts_destination on auth.attempts (destination_id, started_at);

-- Dead deliveries of a destination on their way back: a due row that releases some of them at a time, behind live ones.
create table auth.dead_retries (
  id text primary key,
  destination_id text not null,
  requested_by text not null,
  idempotency_key text not null,
  died_until timestamptz not null,           -- what dies again later is not retried again
  expected int not null,
  released int not null default 0,
  created_at timestamptz not null default auth.clock(),
  due_at timestamptz default auth.clock(),   -- null: finished
  lease_until timestamptz,
  lease_id uuid,
  claims int not null default 0,
  attempts int not null default 0,
  unique (destination_id, idempotency_key)
);
create unique index dead_retries_one_at_a_time on auth.dead_retries (destination_id) where due_at is not null;
create index dead_retries_due on auth.dead_retries (due_at) where due_at is not null;
