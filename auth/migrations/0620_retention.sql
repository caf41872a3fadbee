-- Old days are dropped whole. Dropping a partition locks its parent against everything, so the wait for that lock is
-- short: what queues behind it (ingest) waits no longer than this, and the chore comes again.
create function auth.drop_day(parent text, day date) returns boolean
  language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '50ms'
  as $$
  declare
    child text := parent || '_' || to_char(day, 'YYYYMMDD');
  begin
    if parent not in ('notifications', 'events', 'attempts', 'delivery_outcomes') then
      raise exception 'not a daily table: %', parent;
    end if;
    -- whoever may call this may not empty what is being written
    if day > (auth.clock() at time zone 'UTC')::date - 2 then
      raise exception 'not an old day: %', day;
    end if;
    if to_regclass('auth.' || child) is null then
      return false;
    end if;
    execute format('drop table auth.%I', child);
    return true;
  end
  $$;
revoke execute on function auth.drop_day(text, date) from public;

-- What waits past the hard limit is found by the day of its event: deliveries_event_day. Keys by their age: event_keys_age.
