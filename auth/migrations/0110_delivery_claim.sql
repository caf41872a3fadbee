-- The newest due time that was ever claimed of a destination. Everything under lease was due no later, so counting the
-- leases in force reads the front of the claim index up to here, and not a backlog of a million rows behind it. No column
-- of auth.deliveries that an index names changes when a row is claimed, so claims stay HOT.
alter table auth.destinations add column claimed_due_at timestamptz not null default '-infinity';
