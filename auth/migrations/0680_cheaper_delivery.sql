-- What each sent delivery pays for, without which nothing is missing (decision 50).
-- A claim writes a new version of each row, and the rows of one group stand together: with a third of the page free, half
-- of the versions went to other pages, with new entries in every index.
alter table auth.deliveries set (fillfactor = 45);
-- The outcomes of an event are found as its deliveries are (0600): by when it was recorded, one time for a whole group,
-- instead of by a random id with an entry and a page of its own. So is one outcome by its own id, which begins with that
-- time; there was no index for it.
drop index auth.delivery_outcomes_event;
create index delivery_outcomes_event_day on auth.delivery_outcomes (event_recorded_at);
-- What is settled by one statement finished at one time: a page of the list sorts those few by their id itself.
drop index auth.delivery_outcomes_destination;
create index delivery_outcomes_destination on auth.delivery_outcomes (destination_id, finished_at desc);
