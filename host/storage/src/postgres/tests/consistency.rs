//! What is wrong with a database whose rows do not fit together.

use cofferdam_test_postgres::Database;

/// The counters against what they count, and every row against those that it belongs to.
pub(in crate::postgres) fn check_database(database: &Database) {
    for sql in ROWS.iter().copied().chain(WORKFLOWS) {
        assert_eq!(database.run(sql).trim(), "0", "{sql}");
    }
}

/// Workflows and nodes that do not fit together; each counts what it finds.
const WORKFLOWS: [&str; 5] = [
    "SELECT count(*) FROM cofferdam.workflow w WHERE open <>
        (SELECT count(*) FROM cofferdam.node n JOIN cofferdam.task t ON t.seq = n.seq
         WHERE n.workflow = w.seq AND t.state < 3)
        OR (open = 0) <> (finished_at IS NOT NULL)
        OR nodes <> (SELECT count(*) FROM cofferdam.node n WHERE n.workflow = w.seq)",
    "SELECT count(*) FROM cofferdam.node n FULL JOIN
        (SELECT seq, workflow, place, tenant FROM cofferdam.task WHERE workflow IS NOT NULL) t USING (seq)
     WHERE (n.workflow, n.place, n.tenant) IS DISTINCT FROM (t.workflow, t.place, t.tenant)",
    "SELECT count(*) FROM cofferdam.workflow w FULL JOIN cofferdam.workflow_spec s USING (seq)
     WHERE w.tenant IS DISTINCT FROM s.tenant",
    "SELECT count(*) FROM cofferdam.workflow_signal
     WHERE (workflow, tenant) NOT IN (SELECT seq, tenant FROM cofferdam.workflow)",
    "SELECT count(*) FROM cofferdam.node n JOIN cofferdam.task t ON t.seq = n.seq
        JOIN cofferdam.workflow w ON w.seq = n.workflow
     WHERE (t.state = 0 AND n.remaining = 0 AND w.state <> 1) OR n.tenant <> w.tenant",
];

/// Everything else; each counts what it finds.
const ROWS: &[&str] = &[
    "SELECT count(*) FROM (
        SELECT tenant, state, sum(tasks) AS tasks FROM cofferdam.counter GROUP BY tenant, state) c
     WHERE tasks <> (SELECT count(*) FROM cofferdam.task t
        WHERE t.state = c.state AND t.tenant = c.tenant)",
    "SELECT count(*) FROM cofferdam.task
     WHERE (tenant, state) NOT IN (SELECT tenant, state FROM cofferdam.counter)",
    "SELECT count(*) FROM cofferdam.task t JOIN cofferdam.task_spec s USING (seq)
        JOIN cofferdam.template p ON p.id = s.template
        JOIN cofferdam.module_name n ON n.id = s.name
     WHERE s.tenant <> t.tenant OR p.tenant <> t.tenant OR n.tenant <> t.tenant",
    "SELECT count(*) FROM cofferdam.task t JOIN cofferdam.attempt a USING (seq)
     LEFT JOIN cofferdam.output o USING (seq, number)
     WHERE a.tenant <> t.tenant OR o.tenant <> t.tenant",
    "SELECT count(*) FROM cofferdam.task t JOIN cofferdam.batch b ON b.id = t.batch
     WHERE b.tenant <> t.tenant",
    "SELECT count(*) FROM cofferdam.task FULL JOIN cofferdam.task_spec USING (seq)
     WHERE task.state IS NULL OR task_spec.id IS NULL",
    "SELECT count(*) FROM cofferdam.task_spec
     WHERE template NOT IN (SELECT id FROM cofferdam.template)",
    "SELECT count(*) FROM cofferdam.task h WHERE h.due_at IS NOT NULL AND h.batch_bound >
        (SELECT count(*) FROM cofferdam.task t WHERE t.batch = h.batch
            AND (t.state = 2 OR (t.state = 1 AND t.due_at IS NULL)))",
    "SELECT count(*) FROM cofferdam.task
     WHERE batch IS NOT NULL AND batch NOT IN (SELECT id FROM cofferdam.batch)",
    "SELECT count(*) FROM cofferdam.batch WHERE tasks > 0 AND id NOT IN
        (SELECT batch FROM cofferdam.task WHERE batch IS NOT NULL)",
    "SELECT count(*) FROM (SELECT tenant, sum(bytes) AS bytes FROM (
            SELECT tenant, kept_bytes AS bytes FROM cofferdam.task
            UNION ALL SELECT tenant, kept_bytes FROM cofferdam.workflow
            UNION ALL SELECT v.tenant, (m.info::json ->> 'size_bytes')::int8
            FROM cofferdam.module_version v JOIN cofferdam.module m ON m.digest = v.digest
            UNION ALL SELECT tenant, size_bytes FROM cofferdam.workflow_definition
            UNION ALL SELECT tenant, -bytes FROM cofferdam.kept) AS each
        GROUP BY tenant) AS sums WHERE bytes <> 0",
    "SELECT count(*) FROM cofferdam.attempt WHERE seq NOT IN (SELECT seq FROM cofferdam.task)",
    "SELECT count(*) FROM (SELECT seq, tenant FROM cofferdam.callback
            WHERE batch IS NULL AND workflow IS NULL) c FULL JOIN
        (SELECT seq, tenant FROM cofferdam.task WHERE callback > 0) t USING (seq)
     WHERE c.tenant IS DISTINCT FROM t.tenant",
    "SELECT count(*) FROM cofferdam.callback c WHERE batch IS NOT NULL
        AND (tenant, batch, seq < 0) NOT IN (SELECT tenant, id, true FROM cofferdam.batch)",
    "SELECT count(*) FROM (SELECT seq, tenant FROM cofferdam.callback WHERE workflow IS NOT NULL) c FULL JOIN
        (SELECT seq + 4611686018427387904 AS seq, tenant FROM cofferdam.workflow WHERE callback > 0) w USING (seq)
     WHERE c.tenant IS DISTINCT FROM w.tenant",
    "SELECT count(*) FROM cofferdam.workflow w
     WHERE state >= 2 AND (callback::int4 >> (state::int4 - 2)) & 1 = 1
        AND NOT EXISTS (SELECT 1 FROM cofferdam.delivery d WHERE d.seq = w.seq + 4611686018427387904
            AND d.state = w.state + 1 AND d.attempt = w.run)",
    "SELECT count(*) FROM cofferdam.callback c WHERE batch IS NOT NULL AND ends = 7
        AND NOT EXISTS (SELECT 1 FROM cofferdam.task t WHERE t.batch = c.batch AND t.state < 3)
        AND NOT EXISTS (SELECT 1 FROM cofferdam.delivery d WHERE d.seq = c.seq)",
    "SELECT count(*) FROM cofferdam.task t
     WHERE state >= 3 AND (callback::int4 >> (state::int4 - 3)) & 1 = 1
        AND NOT EXISTS (SELECT 1 FROM cofferdam.delivery d WHERE d.seq = t.seq
            AND d.state = t.state AND d.finished_at = t.finished_at)",
    "SELECT count(*) FROM cofferdam.delivery WHERE (seq, tenant, place) NOT IN
        (SELECT seq, tenant, place FROM cofferdam.callback)",
    "SELECT count(*) FROM cofferdam.output
     WHERE (seq, number) NOT IN (SELECT seq, number FROM cofferdam.attempt)
        OR blob NOT IN (SELECT hash FROM cofferdam.blob WHERE stored)",
    "SELECT count(*) FROM cofferdam.module
     WHERE blob NOT IN (SELECT hash FROM cofferdam.blob WHERE stored)",
    "SELECT count(*) FROM cofferdam.input
     WHERE blob NOT IN (SELECT hash FROM cofferdam.blob WHERE stored)",
    "SELECT count(*) FROM cofferdam.file
     WHERE blob IS NOT NULL AND blob NOT IN (SELECT hash FROM cofferdam.blob WHERE stored)",
    "SELECT (SELECT coalesce(sum(bytes), 0) FROM cofferdam.blob_bytes)
        - (SELECT coalesce(sum(size_bytes), 0) FROM cofferdam.blob)
        - (SELECT coalesce(sum(octet_length(body)), 0) FROM cofferdam.file)",
    "SELECT count(*) FROM cofferdam.blob_part
     WHERE hash NOT IN (SELECT hash FROM cofferdam.blob)",
];
