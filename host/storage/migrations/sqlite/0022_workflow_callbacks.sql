-- Whom the ends of a workflow are told. `workflow.callback` has the bits that a task has in its own row. The `seq` of
-- its callback is the workflow's and 2^62, where no task's is. Whoever makes a workflow final makes the delivery in the
-- same transaction. It goes with the workflow.
ALTER TABLE workflow ADD COLUMN callback INTEGER
    CONSTRAINT callback_valid CHECK (callback BETWEEN 1 AND 7);
ALTER TABLE callback ADD COLUMN workflow INTEGER;
CREATE TRIGGER workflow_removed_with_callback AFTER DELETE ON workflow WHEN OLD.callback IS NOT NULL BEGIN
    DELETE FROM delivery WHERE seq = OLD.seq + 4611686018427387904;
    DELETE FROM callback WHERE seq = OLD.seq + 4611686018427387904;
END;
