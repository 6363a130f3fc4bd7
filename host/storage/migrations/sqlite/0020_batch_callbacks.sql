-- Whom the end of a batch is told. Its callback's `seq` is below 0, where no task's is; `ends` has the bits that a
-- task has in its own row. A batch has ended once none of its tasks goes on: whoever makes one of them final looks
-- for others, and makes the delivery in the same transaction. It goes with the batch.
ALTER TABLE callback ADD COLUMN batch BLOB;
ALTER TABLE callback ADD COLUMN ends INTEGER
    CONSTRAINT batch_has_ends CHECK ((batch IS NULL) = (ends IS NULL));
CREATE UNIQUE INDEX callback_batch ON callback (batch) WHERE batch IS NOT NULL;
CREATE TRIGGER batch_removed_with_callback AFTER DELETE ON batch BEGIN
    DELETE FROM delivery WHERE seq IN (SELECT seq FROM callback WHERE batch = OLD.id);
    DELETE FROM callback WHERE batch = OLD.id;
END;
