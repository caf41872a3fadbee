-- What a destination is: kind, own headers, secrets in rotation, retry plan, private authority, who paused or disabled it.
-- Sealed columns are bound to the row by its data key; header names are shown, their values never.
alter table auth.destinations
  add column kind text not null default 'http' check (kind in ('http', 'n8n')),
  add column test_url text,                    -- n8n: the URL that listens while a person tests the workflow
  add column header_names text[] not null default '{}',
  add column headers text,                     -- sealed: JSON object of name and value
  add column previous_secret text,             -- sealed: signs too until then, so that the receiver can change over
  add column previous_secret_until timestamptz,
  add column retry_schedule int[] check (cardinality(retry_schedule) between 0 and 20),  -- seconds before try 2, 3, …; null: the default plan
  add column retry_statuses int[],             -- statuses worth another try; null: all that are not 2xx
  add column ca text,                          -- certificate authorities in PEM, for this destination alone
  add column paused_at timestamptz,
  add column paused_by text,
  add column disabled_at timestamptz,
  add column disabled_reason text,
  add check ((disabled_at is null) = (disabled_reason is null)),
  add check ((previous_secret is null) = (previous_secret_until is null));
update auth.destinations set paused_at = auth.clock(), paused_by = 'unknown' where paused;
