-- A flow that reconnects one connection must come back as its account.
alter table auth.oauth_states add column reconnects text;

-- Links that a person passes on to an administrator. What comes back proves nothing but that somebody with the link
-- reported a consent: it is noted, and what waits for an administrator is tried again.
create table auth.admin_consents (
  id text primary key,
  state_hash bytea not null unique,
  provider text not null,
  owner_id text not null,
  created_at timestamptz not null default auth.clock(),
  expires_at timestamptz not null,
  used_at timestamptz,
  granted boolean
);
create index admin_consents_owner on auth.admin_consents (owner_id, created_at);
create index admin_consents_age on auth.admin_consents (expires_at);
