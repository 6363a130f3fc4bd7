-- Keys: what callers show, without their secrets. `scopes` has a bit for each right. A revoked or
-- expired one stays for a while, so that it can be seen in the list.
CREATE TABLE cofferdam.api_key (
    id          bytea    NOT NULL PRIMARY KEY,
    hash        bytea    NOT NULL,
    tenant      text     NOT NULL,
    name        text     NOT NULL,
    scopes      smallint NOT NULL,
    rate        text,
    burst       integer,
    created_at  bigint   NOT NULL,
    expires_at  bigint,
    revoked_at  bigint,
    replaced_by bytea,
    CONSTRAINT id_has_8_bytes CHECK (length(id) = 8),
    CONSTRAINT hash_is_sha256 CHECK (length(hash) = 32)
);
CREATE INDEX api_key_tenant ON cofferdam.api_key (tenant);

-- Counts the changes of keys and tenants. Whoever changes them locks its row, so that they change one
-- after the other and the number grows in the order of the commits.
CREATE TABLE cofferdam.access_version (
    one    boolean PRIMARY KEY DEFAULT true CHECK (one),
    number bigint  NOT NULL
);
INSERT INTO cofferdam.access_version (number) VALUES (0);

-- What the operator says of a tenant besides its weight and its bound, as JSON.
ALTER TABLE cofferdam.tenant
    ADD COLUMN rules text NOT NULL DEFAULT '{}',
    ADD COLUMN created_at bigint NOT NULL DEFAULT 0;
INSERT INTO cofferdam.tenant (name) VALUES ('default') ON CONFLICT DO NOTHING;
