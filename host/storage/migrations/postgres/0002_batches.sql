-- Tasks that were submitted together. `tasks` is how many of them were new; `task_ids` is what the
-- submitter was told, 16 bytes for each task that was asked for, in their order. Whoever gives places in
-- a batch away holds a lock on its row.
CREATE TABLE cofferdam.batch (
    id              uuid    NOT NULL PRIMARY KEY,
    tenant          text    NOT NULL DEFAULT 'default',
    parallelism     integer,
    created_at      bigint  NOT NULL,
    tasks           integer NOT NULL,
    fingerprint     bytea   NOT NULL,
    idempotency_key bytea,
    task_ids        bytea   NOT NULL,
    CONSTRAINT parallelism_valid CHECK (parallelism >= 1)
) WITH (fillfactor = 50);
ALTER TABLE cofferdam.batch ALTER COLUMN task_ids SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX batch_idempotency_key ON cofferdam.batch (idempotency_key, tenant)
    WHERE idempotency_key IS NOT NULL;
-- Those that no removed task takes with it.
CREATE INDEX batch_without_tasks ON cofferdam.batch (created_at) WHERE tasks = 0;

-- The batch of a task; how many of that batch may be under way at once, if that is bounded; and the
-- `run_at` of one that has no place among those. What has no place has the end of time as its `run_at`:
-- it lies behind everything that a claim looks at, and costs it nothing.
ALTER TABLE cofferdam.task
    ADD COLUMN batch uuid,
    ADD COLUMN batch_bound integer,
    ADD COLUMN due_at bigint,
    ADD CONSTRAINT bound_is_of_a_batch   CHECK (batch_bound IS NULL OR batch IS NOT NULL),
    ADD CONSTRAINT what_waits_for_a_place CHECK (due_at IS NULL OR (state = 1 AND batch_bound IS NOT NULL));
-- Serves the counts of a batch, and finds who is next in it.
CREATE INDEX task_batch ON cofferdam.task (batch, state, due_at, priority, seq)
    WHERE batch IS NOT NULL;
