-- Whom the end of a task is told. `task.callback` has a bit for each end that is told (1 completed,
-- 2 failed, 4 cancelled) and is NULL for most tasks; `place` is the URL's host and port.
ALTER TABLE task ADD COLUMN callback INTEGER
    CONSTRAINT callback_valid CHECK (callback BETWEEN 1 AND 7);
CREATE TABLE callback (
    seq    INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    url    TEXT NOT NULL,
    place  TEXT NOT NULL,
    secret TEXT
) STRICT;

-- Ends that are told, each until its task is removed; of one task, the newest 16. Whoever makes a task final
-- makes its row in the same transaction. No trigger does, because one on tasks costs every end half of its statement. Statuses: 0 pending, 1 delivered, 2 failed. What
-- somebody has taken is due again when his time for it is over, and `claim` counts who took it. `since`
-- is when telling it began.
CREATE TABLE delivery (
    seq         INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    tenant      TEXT    NOT NULL,
    place       TEXT    NOT NULL,
    state       INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    finished_at INTEGER NOT NULL,
    since       INTEGER NOT NULL,
    status      INTEGER NOT NULL DEFAULT 0,
    due_at      INTEGER NOT NULL,
    taken       INTEGER NOT NULL DEFAULT 0,
    claim       INTEGER NOT NULL DEFAULT 0,
    tries       INTEGER NOT NULL DEFAULT 0,
    last_status INTEGER,
    last_error  TEXT,
    CONSTRAINT state_is_final CHECK (state BETWEEN 3 AND 5),
    CONSTRAINT status_valid   CHECK (status BETWEEN 0 AND 2),
    PRIMARY KEY (seq, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX delivery_pending ON delivery (tenant, place, due_at) WHERE status = 0;
CREATE INDEX delivery_failed ON delivery (tenant) WHERE status = 2;
