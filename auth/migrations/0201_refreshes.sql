-- When the stored access token was written: with expires_at it tells the token's lifetime, so that a caller who asks for
-- more than a token ever has does not cause a refresh at each read.
alter table auth.oauth_tokens add column issued_at timestamptz;

-- Due rows: refresh one connection ahead of its expiry. The lease of the row is the one lease of a refresh, for the worker
-- and for readers alike. Present while the connection can be refreshed (active, partial, admin_required). Claims change no
-- indexed column, so they stay HOT.
create table auth.refreshes (
  id text primary key references auth.oauth_tokens (id) on delete cascade,
  provider text not null,
  due_at timestamptz not null,
  lease_until timestamptz,
  lease_id uuid,
  claims int not null default 0,
  attempts int not null default 0           -- tries that failed in a row: above 0 nobody tries before due_at
) with (fillfactor = 70);
create index refreshes_due on auth.refreshes (provider, due_at);

-- Connections of before: spread over the ten minutes before their expiry.
insert into auth.refreshes (id, provider, due_at)
select id, provider, coalesce(expires_at, auth.clock()) - random() * interval '10 minutes'
  from auth.oauth_tokens
 where status in ('active', 'partial', 'admin_required') and data_key is not null;
