-- How fast the API of each provider is called about subscriptions (create, renew, stop, check, list), by all processes
-- together. A row hands out turns: moments at which one request may begin, evenly spaced, so that no second sees more than
-- `per_second` (an operator may change it at run time).
create table auth.call_pace (
  provider text primary key,
  per_second int not null default 50 check (per_second between 1 and 10000),
  next_at timestamptz not null default '-infinity'       -- the next free turn
) with (fillfactor = 50);
