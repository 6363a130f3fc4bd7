-- The embedded database. Instants are milliseconds since the Unix epoch, ids are the 16 bytes of a
-- UUID, digests the 32 bytes of a SHA-256. States: 0 blocked, 1 pending, 2 running, 3 completed,
-- 4 failed, 5 cancelled; a task is final from 3 on.

-- The common part of many tasks: the module and the settings of the run. It is kept once, so that
-- a task's own rows stay small; `tasks` counts the tasks that refer to it.
CREATE TABLE template (
    id       INTEGER PRIMARY KEY,
    digest   BLOB    NOT NULL,
    module   TEXT    NOT NULL,
    settings TEXT    NOT NULL,
    tasks    INTEGER NOT NULL,
    CONSTRAINT digest_is_sha256 CHECK (length(digest) = 32),
    CONSTRAINT tasks_counted    CHECK (tasks >= 0),
    UNIQUE (digest, module, settings)
) STRICT;
CREATE INDEX template_unused ON template (tasks) WHERE tasks = 0;

-- The changing part of a task. Claim and finish rewrite this row, so it has no wide column.
-- `seq` grows with every insert and gives the newest-first listing without an index.
CREATE TABLE task (
    seq              INTEGER PRIMARY KEY,
    id               BLOB    NOT NULL,
    template         INTEGER NOT NULL,
    state            INTEGER NOT NULL,
    priority         INTEGER NOT NULL,
    run_at           INTEGER NOT NULL,
    attempt          INTEGER NOT NULL,
    max_attempts     INTEGER NOT NULL,
    lost             INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    fence            INTEGER,
    cancel_requested INTEGER NOT NULL,
    worker           BLOB,
    claimed_at       INTEGER,
    finished_at      INTEGER,
    progress         REAL    NOT NULL,
    progress_note    TEXT    NOT NULL,
    CONSTRAINT id_is_uuid                CHECK (length(id) = 16),
    CONSTRAINT state_valid               CHECK (state BETWEEN 0 AND 5),
    CONSTRAINT priority_valid            CHECK (priority BETWEEN 0 AND 3),
    CONSTRAINT attempt_not_above_max     CHECK (attempt BETWEEN 0 AND max_attempts),
    CONSTRAINT attempts_fit_attempt_id   CHECK (max_attempts BETWEEN 1 AND 1048575),
    CONSTRAINT pending_has_attempts_left CHECK (state <> 1 OR attempt < max_attempts),
    CONSTRAINT fence_iff_running         CHECK ((fence IS NOT NULL) = (state = 2)),
    CONSTRAINT running_has_worker        CHECK (state <> 2 OR (worker IS NOT NULL AND claimed_at IS NOT NULL)),
    CONSTRAINT cancel_asked_of_running   CHECK (cancel_requested = 0 OR state = 2),
    CONSTRAINT finalized_iff_final_state CHECK ((finished_at IS NOT NULL) = (state >= 3))
) STRICT;
CREATE UNIQUE INDEX task_id ON task (id);
CREATE INDEX task_pending ON task (priority, run_at) WHERE state = 1;
CREATE INDEX task_running ON task (worker) WHERE state = 2;
-- Serves pruning, and listing by change: a final task changed last when it finished.
CREATE INDEX task_final ON task (finished_at) WHERE state >= 3;
CREATE INDEX task_unsuccessful ON task (state) WHERE state >= 4;

-- The submitted part of a task, written once. `args`, `env` and `metadata` are absent where they
-- are empty.
CREATE TABLE task_spec (
    seq             INTEGER PRIMARY KEY,
    fingerprint     BLOB NOT NULL,
    content_type    TEXT NOT NULL,
    blob            BLOB,
    blob_bytes      INTEGER,
    args            TEXT,
    env             TEXT,
    metadata        TEXT,
    idempotency_key TEXT,
    body            BLOB,
    CONSTRAINT body_or_blob CHECK ((body IS NULL) = (blob IS NOT NULL AND blob_bytes IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX spec_idempotency_key ON task_spec (idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX spec_blob ON task_spec (blob) WHERE blob IS NOT NULL;

-- One row per finished attempt, written once. Its id is `seq * 1048576 + number`, so that the
-- attempts of a task are adjacent and need no index.
CREATE TABLE attempt (
    id                INTEGER PRIMARY KEY,
    worker            BLOB    NOT NULL,
    started_at        INTEGER NOT NULL,
    finished_at       INTEGER NOT NULL,
    failure           TEXT,
    duration_us       INTEGER NOT NULL,
    cpu_us            INTEGER NOT NULL,
    fuel              INTEGER,
    peak_memory_bytes INTEGER NOT NULL,
    disk_bytes        INTEGER NOT NULL,
    truncated         INTEGER NOT NULL,
    artifacts         TEXT,
    content_type      TEXT,
    output            BLOB,
    stdout            BLOB,
    stderr            BLOB,
    log               BLOB,
    CONSTRAINT output_iff_no_failure CHECK ((output IS NULL) = (failure IS NOT NULL)),
    CONSTRAINT output_has_type       CHECK ((output IS NULL) = (content_type IS NULL))
) STRICT;

-- Which task holds a dedup key, and until when.
CREATE TABLE dedup (
    key        TEXT    PRIMARY KEY,
    task_id    BLOB    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX dedup_expiry ON dedup (expires_at);

-- How many tasks are in each state, written in the transaction that changes it.
CREATE TABLE counter (
    state INTEGER PRIMARY KEY,
    tasks INTEGER NOT NULL,
    CONSTRAINT tasks_counted CHECK (tasks >= 0)
) STRICT;
INSERT INTO counter (state, tasks) VALUES (0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0);

-- When each incarnation was last heard of.
CREATE TABLE worker (
    id       BLOB    PRIMARY KEY,
    heard_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The bytes of a module as uploaded, by digest, and the facts about them.
CREATE TABLE module (
    digest BLOB PRIMARY KEY,
    info   TEXT NOT NULL,
    wasm   BLOB NOT NULL,
    CONSTRAINT digest_is_sha256 CHECK (length(digest) = 32)
) STRICT;

-- Which versions were put under which name. The name means the one with the highest `seq`.
CREATE TABLE module_version (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT    NOT NULL,
    digest     BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (name, digest)
) STRICT;
CREATE INDEX module_version_newest ON module_version (name, seq);
CREATE INDEX module_version_digest ON module_version (digest);

-- A ping writes to this row to prove that the database can be written to.
CREATE TABLE ping (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    n   INTEGER NOT NULL
) STRICT;
INSERT INTO ping (one, n) VALUES (1, 0);
