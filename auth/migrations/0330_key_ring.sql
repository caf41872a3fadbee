-- The key ring at work: which key was primary when, which processes hold which keys, and how far a rewrap is.

-- A key that was never primary has sealed nothing: a start without it is no loss.
alter table auth.vault_keys add column first_primary_at timestamptz, add column disabled_at timestamptz;
update auth.vault_keys set first_primary_at = created_at where status = 'primary';

-- Live processes, each with the ids of the keys it holds. seen_at is real time: no test moves it.
create table auth.processes (
  id uuid primary key,
  role text not null,
  version text not null,
  key_ids text[] not null,
  sealing_with text not null,                -- the key it takes for primary
  started_at timestamptz not null default now(),
  seen_at timestamptz not null default now()
);

-- One open run at most. `wrap`: data keys are wrapped anew; what is left are the rows on other keys. `new_data_keys`: rows
-- get new data keys and their cells are sealed anew; table_name and cursor say how far it is.
create table auth.rewraps (
  id bigint generated always as identity primary key,
  kind text not null check (kind in ('wrap', 'new_data_keys')),
  key_id text not null references auth.vault_keys (key_id),
  table_name text not null default '',
  cursor text not null default '',
  done bigint not null default 0,
  total bigint not null default 0,
  started_at timestamptz not null default now(),
  moved_at timestamptz not null default now(),
  ended_at timestamptz,
  ending text check (ending in ('finished', 'superseded')),
  check ((ended_at is null) = (ending is null))
);
create unique index rewraps_one_open on auth.rewraps ((true)) where ended_at is null;

-- Rows by the id of the key that wraps their data key.
create index oauth_tokens_ring_key on auth.oauth_tokens (split_part(data_key, '.', 2)) where data_key <> '';
create index oauth_states_ring_key on auth.oauth_states (split_part(data_key, '.', 2)) where data_key <> '';

-- The ring key under which the ref and the channel secret that the provider holds were minted. Until now there was one.
alter table auth.subscriptions add column channel_key_id text;
update auth.subscriptions
   set channel_key_id = (select key_id from auth.vault_keys where status = 'primary')
 where state in ('wanted', 'active');
