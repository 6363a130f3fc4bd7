-- Who waits where. Tasks of a tenant wait in lanes: one for each module whose attempts are bounded (its
-- name's number), and 0 for all others. A claim looks into lanes one by one, and not at all into one
-- that has no room. An attempt that is counted against a bound is `counted` from its claim on.
ALTER TABLE task ADD COLUMN tenant TEXT NOT NULL DEFAULT 'default';
ALTER TABLE task ADD COLUMN lane INTEGER NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN counted INTEGER NOT NULL DEFAULT 0;
DROP INDEX task_pending;
CREATE INDEX task_pending ON task (tenant, lane, priority, run_at) WHERE state = 1;
CREATE INDEX task_counted ON task (tenant, lane) WHERE state = 2 AND counted = 1;

-- What the operator said of tenants; those of whom nothing was said are not in it.
CREATE TABLE tenant (
    name        TEXT    PRIMARY KEY,
    weight      INTEGER NOT NULL DEFAULT 1,
    running_max INTEGER,
    CONSTRAINT weight_valid      CHECK (weight BETWEEN 1 AND 1000),
    CONSTRAINT running_max_valid CHECK (running_max >= 1)
) STRICT, WITHOUT ROWID;
