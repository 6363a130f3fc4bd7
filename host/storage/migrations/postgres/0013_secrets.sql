-- What tenants entrust to the host, sealed.
CREATE TABLE cofferdam.secret (
    tenant     text   NOT NULL,
    name       text   COLLATE "C" NOT NULL,
    sealed     bytea  NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    PRIMARY KEY (tenant, name)
);
ALTER TABLE cofferdam.secret ENABLE ROW LEVEL SECURITY;
ALTER TABLE cofferdam.secret FORCE ROW LEVEL SECURITY;
CREATE POLICY whose ON cofferdam.secret USING (
    current_setting('cofferdam.whose', true) = '*'
    OR current_setting('cofferdam.whose', true) = tenant
    OR tenant = ANY (string_to_array(current_setting('cofferdam.whose', true), ',')));
