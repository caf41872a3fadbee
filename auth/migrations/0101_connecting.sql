-- When a completion claimed its flow: the sweep ends an exchange that nobody finished by it.
alter table auth.oauth_states add column claimed_at timestamptz;

-- One live subscription for each connection and kind, whatever two completions do at once.
create unique index subscriptions_one_live on auth.subscriptions (connection_id, kind) where state <> 'stopped';
