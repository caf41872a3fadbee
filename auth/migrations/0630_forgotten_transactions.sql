-- A transaction that somebody forgot (a console left open) holds back vacuum, and the tables of due rows become many
-- times slower within a minute. Sessions of this role end it after a minute, unless they say otherwise themselves.
do $$
  begin
    execute format('alter role %I in database %I set idle_in_transaction_session_timeout = %L', current_user, current_database(), '60s');
  end
  $$;
