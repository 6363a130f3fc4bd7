-- Tasks that were submitted together. `tasks` is how many of them were new; `task_ids` is what the
-- submitter was told, 16 bytes for each task that was asked for, in their order.
CREATE TABLE batch (
    id              BLOB    PRIMARY KEY,
    parallelism     INTEGER,
    created_at      INTEGER NOT NULL,
    tasks           INTEGER NOT NULL,
    fingerprint     BLOB    NOT NULL,
    idempotency_key TEXT,
    task_ids        BLOB    NOT NULL,
    CONSTRAINT id_is_uuid        CHECK (length(id) = 16),
    CONSTRAINT parallelism_valid CHECK (parallelism >= 1)
) STRICT;
CREATE UNIQUE INDEX batch_idempotency_key ON batch (idempotency_key)
    WHERE idempotency_key IS NOT NULL;
-- Those that no removed task takes with it.
CREATE INDEX batch_without_tasks ON batch (created_at) WHERE tasks = 0;

-- The batch of a task; how many of that batch may be under way at once, if that is bounded; and the
-- `run_at` of one that has no place among those. What has no place has the end of time as its `run_at`:
-- it lies behind everything that a claim looks at, and costs it nothing.
ALTER TABLE task ADD COLUMN batch BLOB;
ALTER TABLE task ADD COLUMN batch_bound INTEGER
    CONSTRAINT bound_is_of_a_batch CHECK (batch_bound IS NULL OR batch IS NOT NULL);
ALTER TABLE task ADD COLUMN due_at INTEGER
    CONSTRAINT what_waits_for_a_place CHECK (due_at IS NULL OR (state = 1 AND batch_bound IS NOT NULL));
-- Serves the counts of a batch, and finds who is next in it.
CREATE INDEX task_batch ON task (batch, state, due_at, priority) WHERE batch IS NOT NULL;
