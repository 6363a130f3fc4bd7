-- Definitions of workflows: every version that was put under a name, which means the one with the highest `seq`.
CREATE TABLE workflow_definition (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant     TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    digest     BLOB    NOT NULL,
    text       TEXT    NOT NULL,
    size_bytes INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    CONSTRAINT digest_is_sha256 CHECK (length(digest) = 32),
    UNIQUE (tenant, name, digest)
) STRICT;
CREATE INDEX workflow_definition_newest ON workflow_definition (tenant, name, seq);
