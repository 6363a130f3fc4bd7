-- What tenants want submitted again and again. `plan` is JSON; `last` too, of the last instant that something
-- came of. Each time that a schedule is put, its revision grows.
CREATE TABLE cofferdam.schedule (
    tenant     text   NOT NULL,
    name       text   NOT NULL COLLATE "C",
    plan       text   NOT NULL,
    revision   bigint NOT NULL,
    next_at    bigint,
    last       text,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    PRIMARY KEY (tenant, name)
);
CREATE INDEX schedule_next ON cofferdam.schedule (next_at) WHERE next_at IS NOT NULL;

ALTER TABLE cofferdam.schedule ENABLE ROW LEVEL SECURITY;
ALTER TABLE cofferdam.schedule FORCE ROW LEVEL SECURITY;
CREATE POLICY whose ON cofferdam.schedule USING (
    current_setting('cofferdam.whose', true) = '*'
    OR current_setting('cofferdam.whose', true) = tenant
    OR tenant = ANY (string_to_array(current_setting('cofferdam.whose', true), ',')));
