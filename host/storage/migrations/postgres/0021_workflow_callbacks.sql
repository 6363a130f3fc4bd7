-- Whom the ends of a workflow are told. `workflow.callback` has the bits that a task has in its own row. The `seq` of
-- its callback is the workflow's and 2^62, where no task's is.
ALTER TABLE cofferdam.workflow ADD COLUMN callback smallint
    CONSTRAINT callback_valid CHECK (callback BETWEEN 1 AND 7);
ALTER TABLE cofferdam.callback ADD COLUMN workflow bigint;

-- Whatever makes a workflow final makes what is to be told of it, in the same transaction. States of workflows are one
-- below those of tasks, and the number of the run is in the place of a task's attempts. The newest 16 ends are kept.
CREATE FUNCTION cofferdam.workflow_is_told() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    INSERT INTO cofferdam.delivery (seq, number, tenant, place, state, attempt, finished_at, since, due_at)
    SELECT c.seq, 1 + coalesce((SELECT max(d.number) FROM cofferdam.delivery d WHERE d.seq = c.seq), 0),
        c.tenant, c.place, NEW.state + 1, NEW.run, NEW.finished_at, NEW.finished_at, NEW.finished_at
    FROM cofferdam.callback c WHERE c.seq = NEW.seq + 4611686018427387904;
    DELETE FROM cofferdam.delivery WHERE seq = NEW.seq + 4611686018427387904
        AND number <= (SELECT max(d.number) FROM cofferdam.delivery d
            WHERE d.seq = NEW.seq + 4611686018427387904) - 16;
    RETURN NULL;
END $body$;
CREATE TRIGGER workflow_end_is_told AFTER UPDATE OF state, callback ON cofferdam.workflow FOR EACH ROW
    WHEN (NEW.callback IS NOT NULL AND NEW.state >= 2 AND (OLD.state < 2 OR OLD.callback IS NULL)
        AND (NEW.callback::int4 >> (NEW.state::int4 - 2)) & 1 = 1)
    EXECUTE FUNCTION cofferdam.workflow_is_told();
CREATE FUNCTION cofferdam.workflow_callback_removed() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    DELETE FROM cofferdam.callback WHERE seq = OLD.seq + 4611686018427387904;
    DELETE FROM cofferdam.delivery WHERE seq = OLD.seq + 4611686018427387904;
    RETURN NULL;
END $body$;
CREATE TRIGGER workflow_removed_with_callback AFTER DELETE ON cofferdam.workflow FOR EACH ROW
    WHEN (OLD.callback IS NOT NULL) EXECUTE FUNCTION cofferdam.workflow_callback_removed();
