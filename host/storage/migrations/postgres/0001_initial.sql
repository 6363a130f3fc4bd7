-- The shared database. Instants are milliseconds since the Unix epoch by this database's clock, digests
-- the 32 bytes of a SHA-256. States: 0 blocked, 1 pending, 2 running, 3 completed, 4 failed,
-- 5 cancelled; a task is final from 3 on. No table refers to another by a foreign key, because such a
-- key locks the row that it refers to.

-- What many tasks have in common: the module and what was decided about the run. Kept once, so that a
-- task's own rows stay small. `fingerprint` is the SHA-256 of digest, module and settings, because an
-- index holds no long texts.
CREATE TABLE cofferdam.template (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant      text   NOT NULL DEFAULT 'default',
    digest      bytea  NOT NULL,
    module      text   NOT NULL,
    settings    text   NOT NULL,
    name        bigint NOT NULL,
    fingerprint bytea  NOT NULL,
    CONSTRAINT digest_is_sha256      CHECK (length(digest) = 32),
    CONSTRAINT fingerprint_is_sha256 CHECK (length(fingerprint) = 32),
    UNIQUE (fingerprint, tenant)
);
CREATE INDEX template_digest ON cofferdam.template (digest);
CREATE INDEX template_name ON cofferdam.template (name);

-- The names of modules, as numbers.
CREATE TABLE cofferdam.module_name (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text NOT NULL DEFAULT 'default',
    name   text COLLATE "C" NOT NULL,
    UNIQUE (name, tenant)
);

-- What changes while a task lives. Claim and finish rewrite this row, so nothing wide is in it, and it
-- has no index on what never changes. `seq` gives the newest-first listing. A task with a `home` is for
-- hosts over that data directory alone: its input is there. `error_kind` is the kind of the failure that
-- the task shows: that of its newest attempt which has ended.
CREATE SEQUENCE cofferdam.task_seq AS bigint;
CREATE TABLE cofferdam.task (
    seq              bigint   PRIMARY KEY,
    tenant           text     NOT NULL DEFAULT 'default',
    state            smallint NOT NULL,
    priority         smallint NOT NULL,
    run_at           bigint   NOT NULL,
    attempt          integer  NOT NULL DEFAULT 0,
    max_attempts     integer  NOT NULL,
    lost             integer  NOT NULL DEFAULT 0,
    updated_at       bigint   NOT NULL,
    change           bigint   NOT NULL,
    fence            bigint,
    cancel_requested boolean  NOT NULL DEFAULT false,
    worker           uuid,
    claimed_at       bigint,
    finished_at      bigint,
    home             uuid,
    error_kind       text,
    progress         double precision NOT NULL DEFAULT 0,
    progress_note    text     NOT NULL DEFAULT '',
    CONSTRAINT state_valid               CHECK (state BETWEEN 0 AND 5),
    CONSTRAINT priority_valid            CHECK (priority BETWEEN 0 AND 3),
    CONSTRAINT attempt_not_above_max     CHECK (attempt BETWEEN 0 AND max_attempts),
    CONSTRAINT attempts_are_numbered     CHECK (max_attempts BETWEEN 1 AND 1048575),
    CONSTRAINT pending_has_attempts_left CHECK (state <> 1 OR attempt < max_attempts),
    CONSTRAINT fence_iff_running         CHECK ((fence IS NOT NULL) = (state = 2)),
    CONSTRAINT running_has_worker        CHECK (state <> 2 OR (worker IS NOT NULL AND claimed_at IS NOT NULL)),
    CONSTRAINT cancel_asked_of_running   CHECK (NOT cancel_requested OR state = 2),
    CONSTRAINT finalized_iff_final_state CHECK ((finished_at IS NOT NULL) = (state >= 3))
) WITH (
    fillfactor = 85,
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02,
    autovacuum_vacuum_cost_limit = 2000
);
CREATE INDEX task_pending ON cofferdam.task (priority, run_at, seq) WHERE state = 1;
CREATE INDEX task_running ON cofferdam.task (worker) WHERE state = 2;
CREATE INDEX task_final ON cofferdam.task (finished_at, seq) WHERE state >= 3;
CREATE INDEX task_unsuccessful ON cofferdam.task (state, seq) WHERE state >= 4;
CREATE INDEX task_error_kind ON cofferdam.task (error_kind, seq) WHERE error_kind IS NOT NULL;
CREATE UNIQUE INDEX task_change ON cofferdam.task (change);

-- What was submitted; written once. `args`, `env` and `metadata` are absent where they are empty. Keys
-- are bytes, because a text here holds no NUL.
CREATE TABLE cofferdam.task_spec (
    seq             bigint PRIMARY KEY,
    id              uuid   NOT NULL,
    tenant          text   NOT NULL DEFAULT 'default',
    template        bigint NOT NULL,
    name            bigint NOT NULL,
    created_at      bigint NOT NULL,
    fingerprint     bytea  NOT NULL,
    content_type    text   NOT NULL,
    blob            uuid,
    blob_bytes      bigint,
    args            text,
    env             text,
    metadata        text,
    idempotency_key bytea,
    body            bytea,
    CONSTRAINT body_or_blob CHECK ((body IS NULL) = (blob IS NOT NULL AND blob_bytes IS NOT NULL))
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_limit = 2000);
CREATE UNIQUE INDEX spec_id ON cofferdam.task_spec (id);
CREATE UNIQUE INDEX spec_idempotency_key ON cofferdam.task_spec (idempotency_key, tenant)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX spec_blob ON cofferdam.task_spec (blob) WHERE blob IS NOT NULL;
CREATE INDEX spec_name ON cofferdam.task_spec (name, seq);
CREATE INDEX spec_template ON cofferdam.task_spec (template);

-- One row per finished attempt, written once.
CREATE TABLE cofferdam.attempt (
    seq               bigint   NOT NULL,
    number            integer  NOT NULL,
    tenant            text     NOT NULL DEFAULT 'default',
    worker            uuid     NOT NULL,
    started_at        bigint   NOT NULL,
    finished_at       bigint   NOT NULL,
    failure           text,
    duration_us       bigint   NOT NULL,
    cpu_us            bigint   NOT NULL,
    fuel              bigint,
    peak_memory_bytes bigint   NOT NULL,
    disk_bytes        bigint   NOT NULL,
    truncated         smallint NOT NULL,
    artifacts         text,
    content_type      text,
    output            bytea,
    stdout            bytea,
    stderr            bytea,
    log               bytea,
    CONSTRAINT output_iff_no_failure CHECK ((output IS NULL) = (failure IS NOT NULL)),
    CONSTRAINT output_has_type       CHECK ((output IS NULL) = (content_type IS NULL)),
    PRIMARY KEY (seq, number)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_limit = 2000);

-- Which attempts have an output that is too long for their row.
CREATE TABLE cofferdam.output (
    seq        bigint  NOT NULL,
    number     integer NOT NULL,
    tenant     text    NOT NULL DEFAULT 'default',
    blob       bytea   NOT NULL,
    size_bytes bigint  NOT NULL,
    CONSTRAINT blob_is_sha256 CHECK (length(blob) = 32),
    PRIMARY KEY (seq, number)
);
CREATE INDEX output_blob ON cofferdam.output (blob);

-- Which task holds a dedup key, and until when.
CREATE TABLE cofferdam.dedup (
    key        bytea  NOT NULL,
    tenant     text   NOT NULL DEFAULT 'default',
    task_id    uuid   NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (key, tenant)
);
CREATE INDEX dedup_expiry ON cofferdam.dedup (expires_at);

-- How many tasks are in each state: the sum over all shards, each of which is written by few
-- connections, so that two transactions seldom wait for each other's row.
CREATE TABLE cofferdam.counter (
    shard  smallint NOT NULL,
    tenant text     NOT NULL DEFAULT 'default',
    state  smallint NOT NULL,
    tasks  bigint   NOT NULL,
    PRIMARY KEY (shard, tenant, state)
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

-- The bytes of a module as uploaded, by digest, and what was found out about them.
CREATE TABLE cofferdam.module (
    digest bytea NOT NULL PRIMARY KEY,
    tenant text  NOT NULL DEFAULT 'default',
    info   text  NOT NULL,
    blob   bytea NOT NULL,
    CONSTRAINT digest_is_sha256 CHECK (length(digest) = 32),
    CONSTRAINT blob_is_sha256   CHECK (length(blob) = 32)
);
CREATE INDEX module_blob ON cofferdam.module (blob);

-- Which versions were put under which name. The name means the one with the highest `seq`.
CREATE TABLE cofferdam.module_version (
    seq        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant     text   NOT NULL DEFAULT 'default',
    name       text   COLLATE "C" NOT NULL,
    digest     bytea  NOT NULL,
    created_at bigint NOT NULL,
    UNIQUE (name, digest, tenant)
);
CREATE INDEX module_version_newest ON cofferdam.module_version (name, seq);
CREATE INDEX module_version_digest ON cofferdam.module_version (digest);

-- Large bytes by the SHA-256 of what they are, in parts. `put_at`, by this database's clock, says when
-- somebody last began to refer to them: what nothing refers to stays for a while after that.
CREATE TABLE cofferdam.blob (
    hash       bytea  NOT NULL PRIMARY KEY,
    tenant     text   NOT NULL DEFAULT 'default',
    size_bytes bigint NOT NULL,
    put_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT hash_is_sha256 CHECK (length(hash) = 32)
);
CREATE INDEX blob_put_at ON cofferdam.blob (put_at);
CREATE TABLE cofferdam.blob_part (
    hash   bytea   NOT NULL,
    part   integer NOT NULL,
    tenant text    NOT NULL DEFAULT 'default',
    bytes  bytea   NOT NULL,
    PRIMARY KEY (hash, part)
);
ALTER TABLE cofferdam.blob_part ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- When each incarnation of a host was last heard of. Hosts belong to no tenant.
CREATE TABLE cofferdam.worker (
    id       uuid   PRIMARY KEY,
    heard_at bigint NOT NULL
) WITH (fillfactor = 50);

-- When a ping last proved that the database can be written to.
CREATE TABLE cofferdam.ping (
    shard smallint PRIMARY KEY,
    n     bigint   NOT NULL
) WITH (fillfactor = 50);

-- The number of a change is that of its transaction, above what `base` says, and its place in it. So
-- whoever has seen every change of the transactions below one has missed none. `base` is raised where
-- the database was moved to a server whose transactions have lower numbers. `newest` is the newest
-- change of a task that was removed.
CREATE TABLE cofferdam.change_base (
    one    smallint PRIMARY KEY CHECK (one = 1),
    base   bigint NOT NULL,
    newest bigint NOT NULL
);
INSERT INTO cofferdam.change_base (one, base, newest) VALUES (1, 0, 0);

CREATE FUNCTION cofferdam.change_number(place bigint) RETURNS bigint LANGUAGE sql VOLATILE AS
    'SELECT ((pg_current_xact_id()::text::bigint + base) << 18) + place FROM cofferdam.change_base';
-- The first number that a change may have which cannot be seen yet.
CREATE FUNCTION cofferdam.change_horizon() RETURNS bigint LANGUAGE sql STABLE AS
    'SELECT (pg_snapshot_xmin(pg_current_snapshot())::text::bigint + base) << 18 FROM cofferdam.change_base';
