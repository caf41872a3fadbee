-- Whose a refused request claims to be, where its URL is authentic; and how many there were, sampled or not.
alter table auth.rejections add column subscription_id text;

create table auth.rejection_counts (
  day date not null,
  provider text not null,
  reason text not null,
  rejected bigint not null,                      -- requests, or items of a request
  sampled bigint not null,
  last_at timestamptz not null,
  primary key (day, provider, reason)
);
