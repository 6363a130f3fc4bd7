-- Workflows: tasks that wait for each other. States: 0 running, 1 paused, 2 completed, 3 failed, 4 cancelled; one
-- is final from 2 on. `open` nodes are not final; of the others `failed` ones failed and so on. `fails`
-- and `cancels` are the failed and cancelled ones that decide the final state, which instances do not.
CREATE TABLE workflow (
    seq            INTEGER PRIMARY KEY,
    id             BLOB    NOT NULL,
    tenant         TEXT    NOT NULL,
    name           TEXT,
    state          INTEGER NOT NULL,
    run            INTEGER NOT NULL,
    priority       INTEGER NOT NULL,
    on_failure     INTEGER NOT NULL,
    cancel_running INTEGER NOT NULL,
    stopping       INTEGER NOT NULL DEFAULT 0,
    cancelling     INTEGER NOT NULL DEFAULT 0,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    finished_at    INTEGER,
    nodes          INTEGER NOT NULL,
    open           INTEGER NOT NULL,
    completed      INTEGER NOT NULL DEFAULT 0,
    failed         INTEGER NOT NULL DEFAULT 0,
    cancelled      INTEGER NOT NULL DEFAULT 0,
    skipped        INTEGER NOT NULL DEFAULT 0,
    fails          INTEGER NOT NULL DEFAULT 0,
    cancels        INTEGER NOT NULL DEFAULT 0,
    signals        INTEGER NOT NULL DEFAULT 0,
    change         INTEGER NOT NULL,
    kept_bytes     INTEGER NOT NULL,
    CONSTRAINT id_is_uuid                CHECK (length(id) = 16),
    CONSTRAINT state_valid               CHECK (state BETWEEN 0 AND 4),
    CONSTRAINT finalized_iff_final_state CHECK ((finished_at IS NOT NULL) = (state >= 2)),
    CONSTRAINT nodes_counted CHECK (open >= 0 AND nodes = open + completed + failed + cancelled + skipped)
) STRICT;
CREATE UNIQUE INDEX workflow_id ON workflow (id);
CREATE INDEX workflow_tenant ON workflow (tenant, seq);
CREATE INDEX workflow_state ON workflow (tenant, state, seq);
CREATE INDEX workflow_open ON workflow (updated_at) WHERE finished_at IS NULL;
-- Those that no removed task takes with it.
CREATE INDEX workflow_without_nodes ON workflow (finished_at) WHERE nodes = 0;

-- What was submitted; written once.
CREATE TABLE workflow_spec (
    seq             INTEGER PRIMARY KEY,
    tenant          TEXT NOT NULL,
    fingerprint     BLOB NOT NULL,
    idempotency_key TEXT,
    definition      TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX workflow_idempotency_key ON workflow_spec (idempotency_key, tenant)
    WHERE idempotency_key IS NOT NULL;

-- The nodes of a workflow, by place. `remaining` says how many of those that it waits for are not final;
-- `parents_completed`, that those that are final completed, as far as that is known.
-- `parents` are the places that it waits for, and `kids` those that wait for it, 4 bytes each. An instance is
-- waited for by the node at `instance_of`; if no more than `at_once` of them may be under way, those from
-- `next_instance` to `last_instance` have one more in `remaining` until it is their turn. `waits`: 0 nothing,
-- 1 instances, 2 the signal `waits_for`.
CREATE TABLE node (
    workflow       INTEGER NOT NULL,
    place          INTEGER NOT NULL,
    seq            INTEGER NOT NULL,
    name           TEXT    NOT NULL,
    remaining      INTEGER NOT NULL,
    parents_completed INTEGER NOT NULL DEFAULT 1,
    parents        BLOB    NOT NULL,
    kids           BLOB    NOT NULL,
    instance_of    INTEGER,
    at_once        INTEGER,
    first_instance INTEGER,
    next_instance  INTEGER,
    last_instance  INTEGER,
    waits          INTEGER NOT NULL DEFAULT 0,
    waits_for      TEXT,
    CONSTRAINT remaining_counted CHECK (remaining >= 0),
    CONSTRAINT waits_valid       CHECK (waits BETWEEN 0 AND 2),
    PRIMARY KEY (workflow, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX node_signal ON node (workflow, waits_for, place) WHERE waits = 2;
-- What whoever claims a node is told, by its task.
CREATE TABLE node_plan (
    seq  INTEGER PRIMARY KEY,
    plan TEXT NOT NULL
) STRICT;

-- Signals, each given to the node at `place` once that is known; -1 stands for one of an earlier run.
CREATE TABLE workflow_signal (
    workflow        INTEGER NOT NULL,
    number          INTEGER NOT NULL,
    name            TEXT    NOT NULL,
    idempotency_key TEXT,
    fingerprint     BLOB    NOT NULL,
    content_type    TEXT    NOT NULL,
    payload         BLOB    NOT NULL,
    place           INTEGER,
    PRIMARY KEY (workflow, number)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX workflow_signal_key ON workflow_signal (workflow, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

-- The node that a task is.
ALTER TABLE task ADD COLUMN workflow INTEGER;
ALTER TABLE task ADD COLUMN place INTEGER
    CONSTRAINT place_is_in_a_workflow CHECK ((place IS NULL) = (workflow IS NULL));
