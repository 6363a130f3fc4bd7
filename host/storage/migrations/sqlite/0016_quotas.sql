-- The bytes that are kept for a task: its input, arguments, environment and metadata as they were submitted,
-- and what its attempts left: outputs, streams, failures, and artifacts with their list.
ALTER TABLE task ADD COLUMN kept_bytes INTEGER NOT NULL DEFAULT 0;
UPDATE task SET kept_bytes =
    coalesce((SELECT coalesce(s.blob_bytes, octet_length(s.body), 0) + coalesce(octet_length(s.args), 0)
        + coalesce(octet_length(s.env), 0) + coalesce(octet_length(s.metadata), 0)
     FROM task_spec s WHERE s.seq = task.seq), 0)
    + (SELECT coalesce(sum(coalesce(octet_length(a.failure), 0) + coalesce(octet_length(a.artifacts), 0)
            + coalesce(octet_length(a.output), 0) + coalesce(octet_length(a.stdout), 0)
            + coalesce(octet_length(a.stderr), 0) + coalesce(octet_length(a.log), 0)
            + coalesce((SELECT sum(json_extract(f.value, '$.size_bytes')) FROM json_each(a.artifacts,
                iif(json_type(a.artifacts) = 'array', '$', '$.files')) f), 0)
            + coalesce((SELECT o.size_bytes FROM output o WHERE o.attempt = a.id), 0)), 0)
       FROM attempt a WHERE a.id >= task.seq * 1048576 AND a.id < (task.seq + 1) * 1048576);

-- The sum of that for each tenant, and the bytes of each version of each of its modules.
CREATE TABLE kept (
    tenant TEXT    PRIMARY KEY,
    bytes  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO kept (tenant, bytes)
    SELECT tenant, sum(bytes) FROM (
        SELECT tenant, kept_bytes AS bytes FROM task
        UNION ALL
        SELECT v.tenant, coalesce(json_extract(m.info, '$.size_bytes'), 0)
        FROM module_version v JOIN module m ON m.digest = v.digest)
    GROUP BY tenant;
