-- A module's name is its tenant's; those that are everybody's are the default tenant's. Lists go along
-- indexes that begin with the tenant. Every statement says whose rows it is about.
CREATE INDEX spec_tenant ON cofferdam.task_spec (tenant, seq);
DROP INDEX cofferdam.task_change;
CREATE UNIQUE INDEX task_change ON cofferdam.task (tenant, change);
DROP INDEX cofferdam.task_unsuccessful;
CREATE INDEX task_unsuccessful ON cofferdam.task (tenant, state, seq) WHERE state >= 4;
DROP INDEX cofferdam.task_dead;
CREATE INDEX task_dead ON cofferdam.task (tenant, seq)
    WHERE state = 4 AND (error_kind = 'lost' OR (attempt >= max_attempts AND max_attempts > 1));
DROP INDEX cofferdam.task_error_kind;
CREATE INDEX task_error_kind ON cofferdam.task (tenant, error_kind, seq) WHERE error_kind IS NOT NULL;
DROP INDEX cofferdam.module_version_newest;
CREATE INDEX module_version_newest ON cofferdam.module_version (tenant, name, seq);

-- A transaction says whose rows it is about too, in `cofferdam.whose`: the names of tenants, separated by
-- commas, or a star for the host's own services. These functions see the rows of every tenant whoever
-- calls them. They are all that does, so each gives away no more than its name says. They set what is
-- theirs by hand, because only a superuser may attach such a setting to a function.

-- An id is one task's alone, whosever that is.
CREATE FUNCTION cofferdam.tasks_of_ids(ids uuid[])
    RETURNS TABLE (id uuid, fingerprint bytea, tenant text) LANGUAGE plpgsql AS $body$
DECLARE
    whose text := current_setting('cofferdam.whose', true);
BEGIN
    PERFORM set_config('cofferdam.whose', '*', true);
    RETURN QUERY
        SELECT s.id, s.fingerprint, s.tenant FROM cofferdam.task_spec s WHERE s.id = ANY(ids);
    PERFORM set_config('cofferdam.whose', whose, true);
END $body$;
-- A queue is as full for one as it is for all.
CREATE FUNCTION cofferdam.tasks_waiting() RETURNS bigint LANGUAGE plpgsql AS $body$
DECLARE
    whose text := current_setting('cofferdam.whose', true);
    waiting bigint;
BEGIN
    PERFORM set_config('cofferdam.whose', '*', true);
    SELECT coalesce(sum(tasks), 0)::int8 INTO waiting FROM cofferdam.counter WHERE state IN (0, 1);
    PERFORM set_config('cofferdam.whose', whose, true);
    RETURN waiting;
END $body$;
-- Tenant by tenant, because that is how the index is ordered.
CREATE FUNCTION cofferdam.newest_change() RETURNS bigint LANGUAGE plpgsql AS $body$
DECLARE
    whose text := current_setting('cofferdam.whose', true);
    newest bigint;
BEGIN
    PERFORM set_config('cofferdam.whose', '*', true);
    WITH RECURSIVE r(tenant) AS (
        (SELECT t.tenant FROM cofferdam.task t ORDER BY t.tenant LIMIT 1)
        UNION ALL
        SELECT (SELECT t.tenant FROM cofferdam.task t WHERE t.tenant > r.tenant
                ORDER BY t.tenant LIMIT 1)
        FROM r WHERE r.tenant IS NOT NULL)
    SELECT max((SELECT max(t.change) FROM cofferdam.task t WHERE t.tenant = r.tenant)) INTO newest FROM r;
    PERFORM set_config('cofferdam.whose', whose, true);
    RETURN newest;
END $body$;

-- The second wall: a table shows a transaction the rows of the tenants that it names and no others, and
-- none to one that names nobody, whatever its statements ask for. It holds for the owner of the tables too.
-- The setting is read for each row, because statements are short, and to have it read once would cost each
-- of them more in its plan. Hosts, bytes by their digest and what is known of a version are nobody's.
CREATE FUNCTION cofferdam.wall(wanted regclass) RETURNS void LANGUAGE plpgsql AS $wall$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', wanted);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', wanted);
    EXECUTE format($policy$
        CREATE POLICY whose ON %s USING (
            current_setting('cofferdam.whose', true) = '*'
            OR current_setting('cofferdam.whose', true) = tenant
            OR tenant = ANY (string_to_array(current_setting('cofferdam.whose', true), ',')))
        $policy$, wanted);
END $wall$;
SELECT cofferdam.wall(walled::regclass) FROM unnest(ARRAY[
    'cofferdam.task', 'cofferdam.task_spec', 'cofferdam.attempt', 'cofferdam.output',
    'cofferdam.template', 'cofferdam.module_name', 'cofferdam.module_version', 'cofferdam.dedup',
    'cofferdam.counter', 'cofferdam.batch', 'cofferdam.file']) AS walled;
DROP FUNCTION cofferdam.wall(regclass);
-- What is everybody's may be read by everybody, and put by nobody but its owner.
CREATE POLICY everybodys ON cofferdam.module_version FOR SELECT USING (
    tenant = 'default' AND (starts_with(name, 'public/') OR starts_with(name, 'interpreters/')));
