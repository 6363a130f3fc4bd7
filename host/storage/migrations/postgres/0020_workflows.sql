-- Workflows: tasks that wait for each other. States: 0 running, 1 paused, 2 completed, 3 failed, 4 cancelled; one
-- is final from 2 on. `open` nodes are not final; of the others `failed` ones failed and so on. `fails`
-- and `cancels` are the failed and cancelled ones that decide the final state, which instances do not.
-- Whoever ends, releases or parks a node holds the lock on the row of its workflow, and takes it before those on tasks.
CREATE SEQUENCE cofferdam.workflow_seq AS bigint;
CREATE TABLE cofferdam.workflow (
    seq            bigint   PRIMARY KEY,
    id             uuid     NOT NULL,
    tenant         text     NOT NULL,
    name           text,
    state          smallint NOT NULL,
    run            integer  NOT NULL DEFAULT 1,
    priority       smallint NOT NULL,
    on_failure     smallint NOT NULL,
    cancel_running boolean  NOT NULL,
    stopping       boolean  NOT NULL DEFAULT false,
    cancelling     boolean  NOT NULL DEFAULT false,
    created_at     bigint   NOT NULL,
    updated_at     bigint   NOT NULL,
    finished_at    bigint,
    nodes          integer  NOT NULL,
    open           integer  NOT NULL,
    completed      integer  NOT NULL DEFAULT 0,
    failed         integer  NOT NULL DEFAULT 0,
    cancelled      integer  NOT NULL DEFAULT 0,
    skipped        integer  NOT NULL DEFAULT 0,
    fails          integer  NOT NULL DEFAULT 0,
    cancels        integer  NOT NULL DEFAULT 0,
    signals        integer  NOT NULL DEFAULT 0,
    change         bigint   NOT NULL DEFAULT 1,
    kept_bytes     bigint   NOT NULL,
    CONSTRAINT state_valid               CHECK (state BETWEEN 0 AND 4),
    CONSTRAINT finalized_iff_final_state CHECK ((finished_at IS NOT NULL) = (state >= 2)),
    CONSTRAINT nodes_counted CHECK (open >= 0 AND nodes = open + completed + failed + cancelled + skipped)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_limit = 2000);
CREATE UNIQUE INDEX workflow_id ON cofferdam.workflow (id);
CREATE INDEX workflow_tenant ON cofferdam.workflow (tenant, seq);
CREATE INDEX workflow_open ON cofferdam.workflow (seq) WHERE finished_at IS NULL;
-- Those that no removed task takes with it.
CREATE INDEX workflow_without_nodes ON cofferdam.workflow (finished_at) WHERE nodes = 0;

-- What was submitted; written once.
CREATE TABLE cofferdam.workflow_spec (
    seq             bigint PRIMARY KEY,
    tenant          text   NOT NULL,
    fingerprint     bytea  NOT NULL,
    idempotency_key bytea,
    definition      text   NOT NULL
);
CREATE UNIQUE INDEX workflow_idempotency_key ON cofferdam.workflow_spec (idempotency_key, tenant)
    WHERE idempotency_key IS NOT NULL;

-- The nodes of a workflow, by place. `remaining` says how many of those that it waits for are not final;
-- `parents_completed`, that those that are final completed, as far as that is known.
-- `parents` are the places that it waits for, and `kids` those that wait for it. An instance is
-- waited for by the node at `instance_of`; if no more than `at_once` of them may be under way, those from
-- `next_instance` to `last_instance` have one more in `remaining` until it is their turn. `waits`: 0 nothing,
-- 1 instances, 2 the signal `waits_for`. `plan` is what whoever claims it is told.
CREATE TABLE cofferdam.node (
    workflow       bigint   NOT NULL,
    place          integer  NOT NULL,
    tenant         text     NOT NULL,
    seq            bigint   NOT NULL,
    name           text     NOT NULL,
    remaining      integer  NOT NULL,
    parents_completed boolean NOT NULL DEFAULT true,
    parents        int4[]   NOT NULL,
    kids           int4[]   NOT NULL,
    instance_of    integer,
    at_once        integer,
    first_instance integer,
    next_instance  integer,
    last_instance  integer,
    waits          smallint NOT NULL DEFAULT 0,
    waits_for      text,
    plan           text,
    CONSTRAINT remaining_counted CHECK (remaining >= 0),
    CONSTRAINT waits_valid       CHECK (waits BETWEEN 0 AND 2),
    PRIMARY KEY (workflow, place)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_limit = 2000);
CREATE INDEX node_signal ON cofferdam.node (workflow, waits_for, place) WHERE waits = 2;

-- Signals, each given to the node at `place` once that is known; -1 stands for one of an earlier run.
CREATE TABLE cofferdam.workflow_signal (
    workflow        bigint  NOT NULL,
    number          integer NOT NULL,
    tenant          text    NOT NULL,
    name            text    NOT NULL,
    idempotency_key bytea,
    fingerprint     bytea   NOT NULL,
    content_type    text    NOT NULL,
    payload         bytea   NOT NULL,
    place           integer,
    PRIMARY KEY (workflow, number)
);
CREATE UNIQUE INDEX workflow_signal_key ON cofferdam.workflow_signal (workflow, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

-- The node that a task is.
ALTER TABLE cofferdam.task
    ADD COLUMN workflow bigint,
    ADD COLUMN place integer,
    ADD CONSTRAINT place_is_in_a_workflow CHECK ((place IS NULL) = (workflow IS NULL));

-- An id is one workflow's alone, whosever that is.
CREATE FUNCTION cofferdam.workflow_of_id(wanted uuid)
    RETURNS TABLE (seq bigint, tenant text) LANGUAGE plpgsql AS $body$
DECLARE
    whose text := current_setting('cofferdam.whose', true);
BEGIN
    PERFORM set_config('cofferdam.whose', '*', true);
    RETURN QUERY SELECT w.seq, w.tenant FROM cofferdam.workflow w WHERE w.id = wanted;
    PERFORM set_config('cofferdam.whose', whose, true);
END $body$;

-- All of them are behind the wall.
DO $wall$
DECLARE
    walled text;
BEGIN
    FOREACH walled IN ARRAY ARRAY['workflow', 'workflow_spec', 'node', 'workflow_signal'] LOOP
        EXECUTE format('ALTER TABLE cofferdam.%I ENABLE ROW LEVEL SECURITY', walled);
        EXECUTE format('ALTER TABLE cofferdam.%I FORCE ROW LEVEL SECURITY', walled);
        EXECUTE format($policy$
            CREATE POLICY whose ON cofferdam.%I USING (
                current_setting('cofferdam.whose', true) = '*'
                OR current_setting('cofferdam.whose', true) = tenant
                OR tenant = ANY (string_to_array(current_setting('cofferdam.whose', true), ',')))
            $policy$, walled);
    END LOOP;
END $wall$;
