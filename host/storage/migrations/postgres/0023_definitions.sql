-- Definitions of workflows: every version that was put under a name, which means the one with the highest `seq`.
CREATE TABLE cofferdam.workflow_definition (
    seq        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant     text   NOT NULL,
    name       text   NOT NULL COLLATE "C",
    digest     bytea  NOT NULL,
    text       text   NOT NULL,
    size_bytes bigint NOT NULL,
    created_at bigint NOT NULL,
    CONSTRAINT digest_is_sha256 CHECK (length(digest) = 32),
    UNIQUE (tenant, name, digest)
);
CREATE INDEX workflow_definition_newest ON cofferdam.workflow_definition (tenant, name, seq);

ALTER TABLE cofferdam.workflow_definition ENABLE ROW LEVEL SECURITY;
ALTER TABLE cofferdam.workflow_definition FORCE ROW LEVEL SECURITY;
CREATE POLICY whose ON cofferdam.workflow_definition USING (
    current_setting('cofferdam.whose', true) = '*'
    OR current_setting('cofferdam.whose', true) = tenant
    OR tenant = ANY (string_to_array(current_setting('cofferdam.whose', true), ',')));
