-- Named credentials of services. Of a token only its SHA-256 is kept. Without a scope a caller touches nothing; a name is
-- never used again, because the audit trail tells callers apart by it.
create table auth.callers (
  name text primary key check (name ~ '^[a-z0-9][a-z0-9-]{0,39}$'),
  permissions text[] not null,
  all_connections boolean not null default false,
  -- each list that is not empty narrows; all of them empty: no connection, unless all_connections was said
  providers text[] not null default '{}',
  users text[] not null default '{}',
  connections text[] not null default '{}',
  created_at timestamptz not null default auth.clock(),
  revoked_at timestamptz,
  check (not all_connections or (providers = '{}' and users = '{}' and connections = '{}'))
);

create table auth.caller_tokens (
  token_hash bytea primary key,
  caller text not null references auth.callers (name),
  created_at timestamptz not null default auth.clock(),
  -- null: until it is rotated or its caller revoked
  expires_at timestamptz
);
create index caller_tokens_caller on auth.caller_tokens (caller);
