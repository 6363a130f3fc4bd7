-- What a worker tells of itself at each heartbeat. States: 0 idle, 1 running, 2 draining, 3 error,
-- 4 terminated. `capabilities` is a JSON array.
ALTER TABLE worker ADD COLUMN name TEXT NOT NULL DEFAULT 'worker';
ALTER TABLE worker ADD COLUMN address TEXT;
ALTER TABLE worker ADD COLUMN capabilities TEXT NOT NULL DEFAULT '[]';
ALTER TABLE worker ADD COLUMN version TEXT NOT NULL DEFAULT '';
ALTER TABLE worker ADD COLUMN started_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE worker ADD COLUMN slots INTEGER NOT NULL DEFAULT 0;
ALTER TABLE worker ADD COLUMN load INTEGER NOT NULL DEFAULT 0;
ALTER TABLE worker ADD COLUMN state INTEGER NOT NULL DEFAULT 0
    CONSTRAINT state_valid CHECK (state BETWEEN 0 AND 4);
-- Whether it was asked to take no more tasks.
ALTER TABLE worker ADD COLUMN drain_asked INTEGER NOT NULL DEFAULT 0;
