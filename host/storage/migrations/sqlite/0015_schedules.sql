-- What tenants want submitted again and again. `plan` is JSON; `last` too, of the last instant that something
-- came of. Each time that a schedule is put, its revision grows.
CREATE TABLE schedule (
    tenant     TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    plan       TEXT    NOT NULL,
    revision   INTEGER NOT NULL,
    next_at    INTEGER,
    last       TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX schedule_next ON schedule (next_at) WHERE next_at IS NOT NULL;
