-- The CPU time that tenants with a quota of it have used at all hosts, by day (days since 1970, UTC), in
-- microseconds.
CREATE TABLE cofferdam.cpu_used (
    tenant text   NOT NULL,
    day    bigint NOT NULL,
    cpu_us bigint NOT NULL,
    PRIMARY KEY (tenant, day)
) WITH (fillfactor = 50);
ALTER TABLE cofferdam.cpu_used ENABLE ROW LEVEL SECURITY;
ALTER TABLE cofferdam.cpu_used FORCE ROW LEVEL SECURITY;
CREATE POLICY whose ON cofferdam.cpu_used USING (
    current_setting('cofferdam.whose', true) = '*'
    OR current_setting('cofferdam.whose', true) = tenant
    OR tenant = ANY (string_to_array(current_setting('cofferdam.whose', true), ',')));
