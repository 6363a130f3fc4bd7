-- The CPU time that tenants with a quota of it have used, by day (days since 1970, UTC), in microseconds.
CREATE TABLE cpu_used (
    tenant TEXT    NOT NULL,
    day    INTEGER NOT NULL,
    cpu_us INTEGER NOT NULL,
    PRIMARY KEY (tenant, day)
) STRICT, WITHOUT ROWID;
