-- Whom the end of a task is told. `task.callback` has a bit for each end that is told (1 completed,
-- 2 failed, 4 cancelled) and is NULL for most tasks; `place` is the URL's host and port.
ALTER TABLE cofferdam.task ADD COLUMN callback smallint
    CONSTRAINT callback_valid CHECK (callback BETWEEN 1 AND 7);
CREATE TABLE cofferdam.callback (
    seq    bigint PRIMARY KEY,
    tenant text   NOT NULL,
    url    text   NOT NULL,
    place  text   NOT NULL,
    secret text
);

-- Ends that are told, each until its task is removed. Statuses: 0 pending, 1 delivered, 2 failed. What
-- somebody has taken is due again when his time for it is over, and `claim` counts who took it. `since`
-- is when telling it began.
CREATE TABLE cofferdam.delivery (
    seq         bigint   NOT NULL,
    number      integer  NOT NULL,
    tenant      text     NOT NULL,
    place       text     NOT NULL,
    state       smallint NOT NULL,
    attempt     integer  NOT NULL,
    finished_at bigint   NOT NULL,
    since       bigint   NOT NULL,
    status      smallint NOT NULL DEFAULT 0,
    due_at      bigint   NOT NULL,
    taken       boolean  NOT NULL DEFAULT false,
    claim       bigint   NOT NULL DEFAULT 0,
    tries       integer  NOT NULL DEFAULT 0,
    last_status integer,
    last_error  text,
    CONSTRAINT state_is_final CHECK (state BETWEEN 3 AND 5),
    CONSTRAINT status_valid   CHECK (status BETWEEN 0 AND 2),
    PRIMARY KEY (seq, number)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX delivery_pending ON cofferdam.delivery (tenant, place, due_at) WHERE status = 0;
CREATE INDEX delivery_failed ON cofferdam.delivery (tenant) WHERE status = 2;

-- Whatever makes a task final makes what is to be told of it, in the same transaction. A task that is tried
-- again by hand has another end; the newest 16 are kept.
CREATE FUNCTION cofferdam.end_is_told() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    INSERT INTO cofferdam.delivery (seq, number, tenant, place, state, attempt, finished_at, since, due_at)
    SELECT c.seq, 1 + coalesce((SELECT max(d.number) FROM cofferdam.delivery d WHERE d.seq = c.seq), 0),
        c.tenant, c.place, NEW.state, NEW.attempt, NEW.finished_at, NEW.finished_at, NEW.finished_at
    FROM cofferdam.callback c WHERE c.seq = NEW.seq;
    DELETE FROM cofferdam.delivery WHERE seq = NEW.seq
        AND number <= (SELECT max(d.number) FROM cofferdam.delivery d WHERE d.seq = NEW.seq) - 16;
    RETURN NULL;
END $body$;
CREATE TRIGGER task_end_is_told AFTER UPDATE OF state ON cofferdam.task FOR EACH ROW
    WHEN (NEW.callback IS NOT NULL AND NEW.state >= 3 AND OLD.state < 3
        AND (NEW.callback::int4 >> (NEW.state::int4 - 3)) & 1 = 1)
    EXECUTE FUNCTION cofferdam.end_is_told();
CREATE FUNCTION cofferdam.callback_removed() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    DELETE FROM cofferdam.callback WHERE seq = OLD.seq;
    DELETE FROM cofferdam.delivery WHERE seq = OLD.seq;
    RETURN NULL;
END $body$;
CREATE TRIGGER task_removed_with_callback AFTER DELETE ON cofferdam.task FOR EACH ROW
    WHEN (OLD.callback IS NOT NULL) EXECUTE FUNCTION cofferdam.callback_removed();

-- Both tables are behind the wall.
ALTER TABLE cofferdam.callback ENABLE ROW LEVEL SECURITY;
ALTER TABLE cofferdam.callback FORCE ROW LEVEL SECURITY;
CREATE POLICY whose ON cofferdam.callback USING (
    current_setting('cofferdam.whose', true) = '*'
    OR current_setting('cofferdam.whose', true) = tenant
    OR tenant = ANY (string_to_array(current_setting('cofferdam.whose', true), ',')));
ALTER TABLE cofferdam.delivery ENABLE ROW LEVEL SECURITY;
ALTER TABLE cofferdam.delivery FORCE ROW LEVEL SECURITY;
CREATE POLICY whose ON cofferdam.delivery USING (
    current_setting('cofferdam.whose', true) = '*'
    OR current_setting('cofferdam.whose', true) = tenant
    OR tenant = ANY (string_to_array(current_setting('cofferdam.whose', true), ',')));
