-- The ground: clock, users, keys, audit, chores, day partitions.
-- Runs as the migration role. The run-time role needs no DDL: partitions are made and dropped by the functions below.

create schema if not exists auth;

-- Time as the service sees it. `offset_ms` is moved by tests only; production refuses to start with one.
create table auth.clock_offset (
  one boolean primary key default true check (one),
  offset_ms bigint not null default 0
);
insert into auth.clock_offset default values;

create function auth.clock() returns timestamptz
  language sql stable
  as $$ select now() + make_interval(secs => (select offset_ms from auth.clock_offset) / 1000.0) $$;

-- An existing auth.users is used as it is, with integer or uuid ids; it is never altered.
create table if not exists auth.users (
  id serial primary key,
  email text not null unique,
  name text,
  role text not null default 'user' check (role in ('user', 'admin')),
  created_at timestamptz not null default now()
);

-- Check values of the key ring: a wrong or missing key is found before anything is written. Never key bytes.
create table auth.vault_keys (
  key_id text primary key check (key_id ~ '^[a-z0-9]{1,16}$'),
  check_value bytea not null,
  status text not null check (status in ('primary', 'decrypt', 'disabled')),
  created_at timestamptz not null default auth.clock()
);
create unique index vault_keys_one_primary on auth.vault_keys ((true)) where status = 'primary';

create table auth.audit (
  id bigint generated always as identity primary key,
  at timestamptz not null default auth.clock(),
  actor text not null,
  action text not null,
  subject text not null,
  detail jsonb not null default '{}'
);
create index audit_at on auth.audit (at desc);

-- Housekeeping as due rows.
create table auth.chores (
  id text primary key,
  due_at timestamptz not null default auth.clock(),
  lease_until timestamptz,
  lease_id uuid,
  claims int not null default 0,
  attempts int not null default 0,
  last_error text
);

-- Daily partitions. `ensure_day` is called ahead by a chore and on demand by a writer that met no partition.
create function auth.ensure_day(parent text, day date) returns void
  language plpgsql security definer set search_path = pg_catalog, pg_temp
  as $$
  declare
    child text := parent || '_' || to_char(day, 'YYYYMMDD');
  begin
    if parent not in ('notifications', 'events', 'attempts', 'delivery_outcomes') then
      raise exception 'not a daily table: %', parent;
    end if;
    if to_regclass('auth.' || child) is not null then
      return;
    end if;
    perform pg_advisory_xact_lock(hashtextextended('auth.ensure_day', 0));
    if to_regclass('auth.' || child) is null then
      execute format(
        'create table auth.%I partition of auth.%I for values from (%L) to (%L)',
        child, parent, day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC');
    end if;
  end
  $$;

create function auth.ensure_days(from_day date, to_day date) returns void
  language sql security definer set search_path = pg_catalog, pg_temp
  as $$
    select auth.ensure_day(parent, day::date)
      from unnest(array['notifications', 'events', 'attempts', 'delivery_outcomes']) parent,
           generate_series(from_day, to_day, interval '1 day') day
  $$;
