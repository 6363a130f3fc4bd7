-- Keys: what callers show, without their secrets. `scopes` has a bit for each right. A revoked or
-- expired one stays for a while, so that it can be seen in the list.
CREATE TABLE api_key (
    id          BLOB    PRIMARY KEY,
    hash        BLOB    NOT NULL,
    tenant      TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    scopes      INTEGER NOT NULL,
    rate        TEXT,
    burst       INTEGER,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER,
    revoked_at  INTEGER,
    replaced_by BLOB,
    CONSTRAINT id_has_8_bytes CHECK (length(id) = 8),
    CONSTRAINT hash_is_sha256 CHECK (length(hash) = 32)
) STRICT, WITHOUT ROWID;
CREATE INDEX api_key_tenant ON api_key (tenant);

-- Counts the changes of keys and tenants.
CREATE TABLE access_version (number INTEGER NOT NULL) STRICT;
INSERT INTO access_version (number) VALUES (0);

-- What the operator says of a tenant besides its weight and its bound, as JSON.
ALTER TABLE tenant ADD COLUMN rules TEXT NOT NULL DEFAULT '{}';
ALTER TABLE tenant ADD COLUMN created_at INTEGER NOT NULL DEFAULT 0;
INSERT INTO tenant (name) VALUES ('default') ON CONFLICT DO NOTHING;
