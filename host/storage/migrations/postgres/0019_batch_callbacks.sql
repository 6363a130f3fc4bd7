-- Whom the end of a batch is told. Its callback's `seq` is below 0, where no task's is; `ends` has the bits that a
-- task has in its own row.
ALTER TABLE cofferdam.callback ADD COLUMN batch uuid, ADD COLUMN ends smallint,
    ADD CONSTRAINT batch_has_ends CHECK ((batch IS NULL) = (ends IS NULL));
CREATE UNIQUE INDEX callback_batch ON cofferdam.callback (batch) WHERE batch IS NOT NULL;

-- Makes what is to be told of those of these batches that have ended: none of their tasks goes on. The caller has
-- just made tasks of them final, and holds the locks on their rows, so of two who end the last tasks at the same
-- time the second sees what the first has done. A batch has ended as the worst of its tasks, when the last did.
CREATE FUNCTION cofferdam.batches_are_told(ids uuid[]) RETURNS void LANGUAGE plpgsql AS $body$
DECLARE
    ended record;
BEGIN
    FOR ended IN
        SELECT c.seq, c.tenant, c.place, e.state,
            coalesce((SELECT max(t.finished_at) FROM cofferdam.task t WHERE t.batch = c.batch),
                (SELECT b.created_at FROM cofferdam.batch b WHERE b.id = c.batch)) AS at
        FROM cofferdam.callback c CROSS JOIN LATERAL (
            SELECT CASE
                WHEN EXISTS (SELECT 1 FROM cofferdam.task t WHERE t.batch = c.batch AND t.state = 4) THEN 4
                WHEN EXISTS (SELECT 1 FROM cofferdam.task t WHERE t.batch = c.batch AND t.state = 5) THEN 5
                ELSE 3 END AS state) AS e
        WHERE c.batch = ANY(ids) AND (c.ends::int4 >> (e.state - 3)) & 1 = 1
            AND NOT EXISTS (SELECT 1 FROM cofferdam.task t WHERE t.batch = c.batch AND t.state < 3)
    LOOP
        INSERT INTO cofferdam.delivery (seq, number, tenant, place, state, attempt, finished_at, since, due_at)
        SELECT ended.seq, 1 + coalesce(max(d.number), 0), ended.tenant, ended.place, ended.state, 0, ended.at,
            ended.at, ended.at
        FROM cofferdam.delivery d WHERE d.seq = ended.seq;
        DELETE FROM cofferdam.delivery WHERE seq = ended.seq
            AND number <= (SELECT max(d.number) FROM cofferdam.delivery d WHERE d.seq = ended.seq) - 16;
    END LOOP;
END $body$;

CREATE FUNCTION cofferdam.batch_callback_removed() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    DELETE FROM cofferdam.delivery d USING cofferdam.callback c WHERE c.batch = OLD.id AND d.seq = c.seq;
    DELETE FROM cofferdam.callback WHERE batch = OLD.id;
    RETURN NULL;
END $body$;
CREATE TRIGGER batch_removed_with_callback AFTER DELETE ON cofferdam.batch FOR EACH ROW
    EXECUTE FUNCTION cofferdam.batch_callback_removed();
