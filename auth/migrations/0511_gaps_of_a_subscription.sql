-- A page of connections asks for the newest gaps of each subscription.
create index subscription_gaps_of on auth.subscription_gaps (subscription_id, id desc);
