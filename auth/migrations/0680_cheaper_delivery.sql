-- What each sent delivery pays for, without which nothing is missing (decision 50).
-- A claim writes a new version of each row, and the rows of one group stand together: with a third of the page free, half
-- of the versions went to other pages, with new entries in every index.
alter table auth.deliveries set (fillfactor = 45);
