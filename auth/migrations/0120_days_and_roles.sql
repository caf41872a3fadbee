-- Day partitions are attached instead of created in place: `create table … partition of` would lock the parent against
-- everything, and one long read beside it would stop ingest. Attaching an empty table locks out only other changes of
-- structure. Whoever calls these functions needs no DDL; nobody calls them by default.

create or replace function auth.ensure_day(parent text, day date) returns void
  language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '2s'
  as $$
  declare
    child text := parent || '_' || to_char(day, 'YYYYMMDD');
  begin
    if parent not in ('notifications', 'events', 'attempts', 'delivery_outcomes') then
      raise exception 'not a daily table: %', parent;
    end if;
    if to_regclass('auth.' || child) is not null then
      return;
    end if;
    perform pg_advisory_xact_lock(hashtextextended('auth.ensure_day', 0));
    if to_regclass('auth.' || child) is null then
      execute format('create table auth.%I (like auth.%I including defaults including constraints)', child, parent);
      execute format(
        'alter table auth.%I attach partition auth.%I for values from (%L) to (%L)',
        parent, child, day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC');
    end if;
  end
  $$;

revoke execute on function auth.ensure_day(text, date), auth.ensure_days(date, date) from public;

-- The revision is bumped for whoever may change rules, also when the run-time role is another one.
alter function auth.bump_rule_revision() security definer set search_path = pg_catalog, pg_temp;
