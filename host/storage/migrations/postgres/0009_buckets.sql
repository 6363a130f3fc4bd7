-- Large bytes may be an object in a bucket in place of parts here. `stored` says whether all of it is
-- there: the row is written before the first byte. `put_at` says when somebody last began to refer to
-- them or ceased to; it is NULL once they were looked at and something referred to them.
ALTER TABLE cofferdam.blob
    ADD COLUMN object uuid,
    ADD COLUMN stored boolean NOT NULL DEFAULT true,
    ALTER COLUMN put_at DROP NOT NULL;

-- Objects that are to be removed from the bucket, since when. The name of an object is never used again.
CREATE TABLE cofferdam.blob_gone (
    object uuid        NOT NULL PRIMARY KEY,
    tenant text        NOT NULL DEFAULT 'default',
    since  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX blob_gone_since ON cofferdam.blob_gone (since);

-- How many bytes blobs and short files have: the sum over all shards.
CREATE TABLE cofferdam.blob_bytes (
    shard  smallint NOT NULL PRIMARY KEY,
    tenant text     NOT NULL DEFAULT 'default',
    bytes  bigint   NOT NULL
) WITH (fillfactor = 50);
INSERT INTO cofferdam.blob_bytes (shard, bytes)
    SELECT 0, coalesce(sum(size_bytes), 0)::int8 FROM cofferdam.blob;

-- Spooled inputs by the name that a task's spec has, and their bytes. `put_at` is as that of a blob.
CREATE TABLE cofferdam.input (
    id         uuid        NOT NULL PRIMARY KEY,
    tenant     text        NOT NULL DEFAULT 'default',
    blob       bytea       NOT NULL,
    size_bytes bigint      NOT NULL,
    put_at     timestamptz DEFAULT clock_timestamp(),
    CONSTRAINT blob_is_sha256 CHECK (length(blob) = 32)
);
CREATE INDEX input_blob ON cofferdam.input (blob);
CREATE INDEX input_put_at ON cofferdam.input (put_at);

-- Files that the attempts of tasks left, and those of executions, whose attempt is 0. The row of an
-- execution without a path says that there is such an execution. Short files are in their row.
CREATE TABLE cofferdam.file (
    owner      uuid    NOT NULL,
    attempt    integer NOT NULL,
    path       text    COLLATE "C" NOT NULL,
    tenant     text    NOT NULL DEFAULT 'default',
    size_bytes bigint  NOT NULL,
    body       bytea,
    blob       bytea,
    CONSTRAINT body_or_blob   CHECK ((body IS NULL) = (blob IS NOT NULL)),
    CONSTRAINT blob_is_sha256 CHECK (length(blob) = 32),
    PRIMARY KEY (owner, attempt, path)
);
CREATE INDEX file_blob ON cofferdam.file (blob) WHERE blob IS NOT NULL;
CREATE INDEX file_execution ON cofferdam.file (owner) WHERE attempt = 0 AND path = '';

-- Every host has every input, so no task is for the hosts of one data directory.
ALTER TABLE cofferdam.task DROP COLUMN home;
