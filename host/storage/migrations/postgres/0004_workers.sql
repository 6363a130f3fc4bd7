-- What a worker tells of itself at each heartbeat. States: 0 idle, 1 running, 2 draining, 3 error,
-- 4 terminated. `capabilities` is a JSON array. `drain_asked` says whether it was asked to take no more
-- tasks.
ALTER TABLE cofferdam.worker
    ADD COLUMN name         text     NOT NULL DEFAULT 'worker',
    ADD COLUMN address      text,
    ADD COLUMN capabilities text     NOT NULL DEFAULT '[]',
    ADD COLUMN version      text     NOT NULL DEFAULT '',
    ADD COLUMN started_at   bigint   NOT NULL DEFAULT 0,
    ADD COLUMN slots        integer  NOT NULL DEFAULT 0,
    ADD COLUMN load         integer  NOT NULL DEFAULT 0,
    ADD COLUMN state        smallint NOT NULL DEFAULT 0,
    ADD COLUMN drain_asked  boolean  NOT NULL DEFAULT false,
    ADD CONSTRAINT state_valid CHECK (state BETWEEN 0 AND 4);
