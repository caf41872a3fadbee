-- Renewals: the due row of a subscription has its next time while the subscription lives.
alter table auth.subscriptions
  add column last_renewed_at timestamptz,
  add column life_seconds double precision,  -- as granted last
  add column renewal_failure_code text,      -- null: the newest renewal worked
  add column expiring_told boolean not null default false;

-- While nothing was pushed, or not everything: what a change feed has to catch up.
create table auth.subscription_gaps (
  id bigint generated always as identity primary key,
  subscription_id text not null references auth.subscriptions (id) on delete cascade,
  connection_id text not null,
  reason text not null check (reason in ('expired', 'removed', 'missed', 'replaced')),
  from_at timestamptz not null,
  to_at timestamptz,                         -- null: it lasts
  created_at timestamptz not null default auth.clock()
);
create index subscription_gaps_newest on auth.subscription_gaps (connection_id, created_at desc);
create index subscription_gaps_open on auth.subscription_gaps (subscription_id) where to_at is null;

-- Those that live already, at half of what is left, not all at once.
update auth.subscription_renewals r
   set due_at = auth.clock() + greatest(interval '0', (s.expires_at - auth.clock()) / 2) * (0.8 + 0.2 * random())
  from auth.subscriptions s
 where s.id = r.id and s.state = 'active' and s.expires_at is not null and r.due_at is null;
