-- Certificates that a provider encrypts the content of its pushes to, each for one subscription. The private key is sealed;
-- the certificate itself is what the provider was given, and is public.
create table auth.subscription_certificates (
  id text primary key,                       -- as the provider names it in each push
  subscription_id text not null references auth.subscriptions (id) on delete cascade,
  owner_id text not null,                    -- of the vault's context, as in auth.oauth_tokens
  provider text not null,
  data_key text not null,
  private_key text not null,                 -- sealed: PKCS #8
  certificate text not null,                 -- X.509, DER, base64
  created_at timestamptz not null default auth.clock(),
  retired_at timestamptz                     -- another one took its place; what was encrypted to it may still be on its way
);
create index subscription_certificates_of on auth.subscription_certificates (subscription_id, created_at desc);
create index subscription_certificates_retired on auth.subscription_certificates (retired_at) where retired_at is not null;
create index subscription_certificates_ring_key on auth.subscription_certificates (split_part(data_key, '.', 2)) where data_key <> '';

-- The one that the provider has; null: pushes say only that something changed.
alter table auth.subscriptions add column certificate_id text;
