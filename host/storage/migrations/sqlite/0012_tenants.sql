-- Everything about tasks and modules belongs to a tenant: keys, templates, numbers of names and counts are each
-- tenant's own, and lists go along indexes that begin with the tenant.
ALTER TABLE task_spec ADD COLUMN tenant TEXT NOT NULL DEFAULT 'default';
DROP INDEX spec_idempotency_key;
CREATE UNIQUE INDEX spec_idempotency_key ON task_spec (idempotency_key, tenant)
    WHERE idempotency_key IS NOT NULL;

ALTER TABLE batch ADD COLUMN tenant TEXT NOT NULL DEFAULT 'default';
DROP INDEX batch_idempotency_key;
CREATE UNIQUE INDEX batch_idempotency_key ON batch (idempotency_key, tenant)
    WHERE idempotency_key IS NOT NULL;

ALTER TABLE dedup RENAME TO old_dedup;
DROP INDEX dedup_expiry;
CREATE TABLE dedup (
    key        TEXT    NOT NULL,
    tenant     TEXT    NOT NULL,
    task_id    BLOB    NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (key, tenant)
) STRICT, WITHOUT ROWID;
INSERT INTO dedup (key, tenant, task_id, expires_at)
    SELECT key, 'default', task_id, expires_at FROM old_dedup;
DROP TABLE old_dedup;
CREATE INDEX dedup_expiry ON dedup (expires_at);

ALTER TABLE template RENAME TO old_template;
DROP INDEX template_unused;
DROP INDEX template_name;
DROP INDEX template_class;
CREATE TABLE template (
    id       INTEGER PRIMARY KEY,
    digest   BLOB    NOT NULL,
    module   TEXT    NOT NULL,
    settings TEXT    NOT NULL,
    tasks    INTEGER NOT NULL,
    name     INTEGER NOT NULL,
    class    INTEGER NOT NULL,
    tenant   TEXT    NOT NULL DEFAULT 'default',
    CONSTRAINT digest_is_sha256 CHECK (length(digest) = 32),
    CONSTRAINT tasks_counted    CHECK (tasks >= 0),
    UNIQUE (digest, module, settings, tenant)
) STRICT;
INSERT INTO template (id, digest, module, settings, tasks, name, class)
    SELECT id, digest, module, settings, tasks, name, class FROM old_template;
DROP TABLE old_template;
CREATE INDEX template_unused ON template (tasks) WHERE tasks = 0;
CREATE INDEX template_name ON template (name);
CREATE INDEX template_class ON template (class) WHERE class <> 0;

ALTER TABLE module_name RENAME TO old_module_name;
CREATE TABLE module_name (
    id     INTEGER PRIMARY KEY,
    name   TEXT    NOT NULL,
    tenant TEXT    NOT NULL DEFAULT 'default',
    UNIQUE (name, tenant)
) STRICT;
INSERT INTO module_name (id, name) SELECT id, name FROM old_module_name;
DROP TABLE old_module_name;

-- The tasks of each tenant in each state.
ALTER TABLE counter RENAME TO old_counter;
CREATE TABLE counter (
    tenant TEXT    NOT NULL,
    state  INTEGER NOT NULL,
    tasks  INTEGER NOT NULL,
    CONSTRAINT tasks_counted CHECK (tasks >= 0),
    PRIMARY KEY (tenant, state)
) STRICT, WITHOUT ROWID;
INSERT INTO counter (tenant, state, tasks)
    SELECT tenant, state, count(*) FROM task GROUP BY tenant, state;
DROP TABLE old_counter;

CREATE INDEX task_tenant ON task (tenant);
DROP INDEX task_change;
CREATE UNIQUE INDEX task_change ON task (tenant, change);
DROP INDEX task_unsuccessful;
CREATE INDEX task_unsuccessful ON task (tenant, state) WHERE state >= 4;
DROP INDEX task_dead;
CREATE INDEX task_dead ON task (tenant)
    WHERE state = 4 AND (error_kind = 'lost' OR (attempt >= max_attempts AND max_attempts > 1));
DROP INDEX task_error_kind;
CREATE INDEX task_error_kind ON task (tenant, error_kind) WHERE error_kind IS NOT NULL;

-- A name is its tenant's; those that are everybody's are the default tenant's.
ALTER TABLE module_version RENAME TO old_module_version;
DROP INDEX module_version_newest;
DROP INDEX module_version_digest;
CREATE TABLE module_version (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant     TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    digest     BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (tenant, name, digest)
) STRICT;
INSERT INTO module_version (seq, tenant, name, digest, created_at)
    SELECT seq, 'default', name, digest, created_at FROM old_module_version;
DROP TABLE old_module_version;
CREATE INDEX module_version_newest ON module_version (tenant, name, seq);
CREATE INDEX module_version_digest ON module_version (digest);
