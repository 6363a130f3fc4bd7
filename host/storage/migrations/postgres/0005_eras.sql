-- The era of the server, between two of its crashes, in which `base` was raised last: after a crash the
-- server gives numbers of transactions a second time.
ALTER TABLE cofferdam.change_base ADD COLUMN era text;
