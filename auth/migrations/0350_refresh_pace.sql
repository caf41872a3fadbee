-- How fast each provider is asked for tokens, by all processes together. A row hands out turns: moments at which one
-- refresh may begin, evenly spaced, so that no second ever sees more than `per_second` (an operator may change it at run
-- time). While the provider asks to be left alone, or fails again and again, nobody gets a turn before `held_until`.
create table auth.refresh_pace (
  provider text primary key,
  per_second int not null default 50 check (per_second between 1 and 10000),
  next_at timestamptz not null default '-infinity',      -- the next free turn
  held_until timestamptz not null default '-infinity',
  failures int not null default 0                        -- that say "the provider is down", in a row
) with (fillfactor = 50);

-- What an operator has to repair: our own credentials or request, refused by a provider. One row a cause, from the first
-- refusal until a request has succeeded and the cause has not come back for ten minutes.
create table auth.provider_alarms (
  provider text not null,
  code text not null,
  since timestamptz not null default auth.clock(),
  last_at timestamptz not null default auth.clock(),
  primary key (provider, code)
);

-- Warnings of an expiring client secret that were given: each once, over all processes and restarts.
create table auth.secret_warnings (
  provider text not null,
  expires_at timestamptz not null,
  days int not null,
  at timestamptz not null default auth.clock(),
  primary key (provider, expires_at, days)
);
