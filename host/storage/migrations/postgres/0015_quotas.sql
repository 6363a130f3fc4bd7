-- The bytes that are kept for a task: its input, arguments, environment and metadata as they were submitted,
-- and what its attempts left: outputs, streams, failures, and artifacts with their list.
ALTER TABLE cofferdam.task ADD COLUMN kept_bytes bigint NOT NULL DEFAULT 0;
UPDATE cofferdam.task t SET kept_bytes =
    coalesce((SELECT coalesce(s.blob_bytes, octet_length(s.body), 0) + coalesce(octet_length(s.args), 0)
        + coalesce(octet_length(s.env), 0) + coalesce(octet_length(s.metadata), 0)
     FROM cofferdam.task_spec s WHERE s.seq = t.seq), 0)
    + (SELECT coalesce(sum(coalesce(octet_length(a.failure), 0) + coalesce(octet_length(a.artifacts), 0)
            + coalesce(octet_length(a.output), 0) + coalesce(octet_length(a.stdout), 0)
            + coalesce(octet_length(a.stderr), 0) + coalesce(octet_length(a.log), 0)
            + coalesce((SELECT sum((f.value ->> 'size_bytes')::int8) FROM json_array_elements(
                CASE json_typeof(a.artifacts::json) WHEN 'array' THEN a.artifacts::json
                ELSE a.artifacts::json -> 'files' END) f), 0)
            + coalesce((SELECT o.size_bytes FROM cofferdam.output o
                WHERE o.seq = a.seq AND o.number = a.number), 0)), 0)
       FROM cofferdam.attempt a WHERE a.seq = t.seq);

-- The sum of that for each tenant, and the bytes of each version of each of its modules: the sum over all
-- shards, as in `counter`.
CREATE TABLE cofferdam.kept (
    shard  smallint NOT NULL,
    tenant text     NOT NULL,
    bytes  bigint   NOT NULL,
    PRIMARY KEY (shard, tenant)
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);
INSERT INTO cofferdam.kept (shard, tenant, bytes)
    SELECT 0, tenant, sum(bytes)::int8 FROM (
        SELECT tenant, kept_bytes AS bytes FROM cofferdam.task
        UNION ALL
        SELECT v.tenant, coalesce((m.info::json ->> 'size_bytes')::int8, 0)
        FROM cofferdam.module_version v JOIN cofferdam.module m ON m.digest = v.digest) AS each
    GROUP BY tenant;
ALTER TABLE cofferdam.kept ENABLE ROW LEVEL SECURITY;
ALTER TABLE cofferdam.kept FORCE ROW LEVEL SECURITY;
CREATE POLICY whose ON cofferdam.kept USING (
    current_setting('cofferdam.whose', true) = '*'
    OR current_setting('cofferdam.whose', true) = tenant
    OR tenant = ANY (string_to_array(current_setting('cofferdam.whose', true), ',')));
