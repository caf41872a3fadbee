-- A few of the requests that were not genuine, so that a wrong secret can be found: never a body, a value or an address.
create table auth.rejections (
  id bigint generated always as identity primary key,
  at timestamptz not null default auth.clock(),
  provider text not null,
  reason text not null,
  header_names text[] not null,
  body_bytes int,                                -- null: refused before the body was read
  body_sha256 bytea
);
create index rejections_of on auth.rejections (provider, reason, id desc);
create index rejections_at on auth.rejections (at);
