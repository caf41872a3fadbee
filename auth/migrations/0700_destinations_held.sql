-- Until when a receiver asked to be left alone (429 or 503 with Retry-After): nothing is claimed for it before (decision 54).
alter table auth.destinations add column held_until timestamptz;
