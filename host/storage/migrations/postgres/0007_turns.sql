-- Who waits where. Tasks of a tenant wait in lanes: one for each module whose attempts are bounded (its
-- name's number), and 0 for all others. A claim looks into lanes one by one, and not at all into one
-- that has no room. An attempt that is counted against a bound is `counted` from its claim on.
ALTER TABLE cofferdam.task
    ADD COLUMN lane bigint NOT NULL DEFAULT 0,
    ADD COLUMN counted boolean NOT NULL DEFAULT false;
DROP INDEX cofferdam.task_pending;
CREATE INDEX task_pending ON cofferdam.task (tenant, lane, priority, run_at, seq) WHERE state = 1;
CREATE INDEX task_counted ON cofferdam.task (tenant, lane) WHERE state = 2 AND counted;

-- What the operator said of tenants; those of whom nothing was said are not in it.
CREATE TABLE cofferdam.tenant (
    name        text    PRIMARY KEY,
    weight      integer NOT NULL DEFAULT 1,
    running_max integer,
    CONSTRAINT weight_valid      CHECK (weight BETWEEN 1 AND 1000),
    CONSTRAINT running_max_valid CHECK (running_max >= 1)
);
