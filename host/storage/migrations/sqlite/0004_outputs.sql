-- Large outputs are kept beside the database too. Such an attempt's `output` is empty; a separate
-- table names its blob, because a column behind the streams would cost every list a walk through
-- them.
CREATE TABLE output (
    attempt    INTEGER PRIMARY KEY,
    blob       BLOB    NOT NULL,
    size_bytes INTEGER NOT NULL,
    CONSTRAINT blob_is_sha256 CHECK (length(blob) = 32)
) STRICT;
CREATE INDEX output_blob ON output (blob);
