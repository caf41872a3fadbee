-- What each stored event pays for, without which nothing is missing (decision 40).
-- The deliveries of an event are found by when it was recorded (deliveries_event_day: a group of at most 256 has one time)
-- and its id; an index on the random id cost a page of its own for each row.
drop index auth.deliveries_event;
-- Destinations are never deleted, only marked. The storing statement locks each destination once, as the foreign key's
-- trigger did once for each delivery.
alter table auth.deliveries drop constraint deliveries_destination_id_fkey;
