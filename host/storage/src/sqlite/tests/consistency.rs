//! What is wrong with a database whose rows do not fit together.

use rusqlite::Connection;

use super::super::database_path;

/// Workflows and nodes that do not fit together; each counts what it finds.
const WORKFLOWS: [&str; 10] = [
    "SELECT count(*) FROM workflow w WHERE open <>
        (SELECT count(*) FROM node n JOIN task t ON t.seq = n.seq
         WHERE n.workflow = w.seq AND t.state < 3)",
    "SELECT count(*) FROM workflow w WHERE (open = 0) <> (finished_at IS NOT NULL)",
    "SELECT count(*) FROM workflow w WHERE nodes <>
        (SELECT count(*) FROM node n WHERE n.workflow = w.seq)",
    "SELECT count(*) FROM node n LEFT JOIN task t
        ON t.seq = n.seq AND t.workflow = n.workflow AND t.place = n.place WHERE t.seq IS NULL",
    "SELECT count(*) FROM task t WHERE workflow IS NOT NULL AND NOT EXISTS
        (SELECT 1 FROM node n WHERE n.workflow = t.workflow AND n.place = t.place AND n.seq = t.seq)",
    "SELECT count(*) FROM workflow WHERE seq NOT IN (SELECT seq FROM workflow_spec)",
    "SELECT count(*) FROM workflow_spec WHERE seq NOT IN (SELECT seq FROM workflow)",
    "SELECT count(*) FROM node_plan WHERE seq NOT IN (SELECT seq FROM node)",
    "SELECT count(*) FROM workflow_signal WHERE workflow NOT IN (SELECT seq FROM workflow)",
    "SELECT count(*) FROM node n JOIN task t ON t.seq = n.seq JOIN workflow w ON w.seq = n.workflow
     WHERE t.state = 0 AND n.remaining = 0 AND w.state <> 1",
];

/// Checks integrity, and compares the counters with the rows.
pub(super) fn check_database(dir: &std::path::Path) {
    let conn = Connection::open(database_path(dir)).unwrap();
    let verdict: String = conn
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(verdict, "ok");
    for sql in [
        "SELECT count(*) FROM counter c WHERE tasks <>
            (SELECT count(*) FROM task t WHERE t.state = c.state AND t.tenant = c.tenant)",
        "SELECT count(*) FROM task WHERE (tenant, state) NOT IN (SELECT tenant, state FROM counter)",
        "SELECT count(*) FROM task t JOIN task_spec s ON s.seq = t.seq
            JOIN template p ON p.id = t.template JOIN module_name n ON n.id = t.name
         WHERE s.tenant <> t.tenant OR p.tenant <> t.tenant OR n.tenant <> t.tenant",
        "SELECT count(*) FROM task t JOIN batch b ON b.id = t.batch WHERE b.tenant <> t.tenant",
        "SELECT count(*) FROM template p
         WHERE tasks <> (SELECT count(*) FROM task t WHERE t.template = p.id)",
        "SELECT count(*) FROM task WHERE seq NOT IN (SELECT seq FROM task_spec)",
        "SELECT count(*) FROM task_spec WHERE seq NOT IN (SELECT seq FROM task)",
        "SELECT count(*) FROM task h WHERE h.due_at IS NOT NULL AND h.batch_bound > (SELECT count(*)
            FROM task t WHERE t.batch = h.batch AND (t.state = 2 OR (t.state = 1 AND t.due_at IS NULL)))",
        "SELECT count(*) FROM task WHERE batch IS NOT NULL AND batch NOT IN (SELECT id FROM batch)",
        "SELECT count(*) FROM batch WHERE tasks > 0 AND id NOT IN
            (SELECT batch FROM task WHERE batch IS NOT NULL)",
        "SELECT count(*) FROM (SELECT tenant, sum(bytes) AS bytes FROM (
                SELECT tenant, kept_bytes AS bytes FROM task
                UNION ALL SELECT tenant, kept_bytes FROM workflow
                UNION ALL SELECT v.tenant, json_extract(m.info, '$.size_bytes')
                FROM module_version v JOIN module m ON m.digest = v.digest
                UNION ALL SELECT tenant, size_bytes FROM workflow_definition
                UNION ALL SELECT tenant, -bytes FROM kept) GROUP BY tenant) WHERE bytes <> 0",
        "SELECT count(*) FROM attempt WHERE id / 1048576 NOT IN (SELECT seq FROM task)",
        "SELECT count(*) FROM callback WHERE seq >= 0 AND workflow IS NULL
            AND seq NOT IN (SELECT seq FROM task WHERE callback > 0)",
        "SELECT count(*) FROM callback c WHERE workflow IS NOT NULL AND (tenant, seq) NOT IN
            (SELECT tenant, seq + 4611686018427387904 FROM workflow WHERE callback > 0)",
        "SELECT count(*) FROM workflow w WHERE state >= 2 AND (callback >> (state - 2)) & 1
            AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.seq = w.seq + 4611686018427387904
                AND d.state = w.state + 1 AND d.attempt = w.run)",
        "SELECT count(*) FROM callback c WHERE seq < 0 AND (tenant, batch) NOT IN (SELECT tenant, id FROM batch)",
        "SELECT count(*) FROM task WHERE callback > 0 AND seq NOT IN (SELECT seq FROM callback)",
        "SELECT count(*) FROM delivery WHERE seq NOT IN (SELECT seq FROM callback)",
        "SELECT count(*) FROM task t WHERE state >= 3 AND (callback >> (state - 3)) & 1
            AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.seq = t.seq AND d.state = t.state
                AND d.finished_at = t.finished_at)",
    ]
    .into_iter()
    .chain(WORKFLOWS)
    {
        let wrong: i64 = conn.query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(wrong, 0, "{sql}");
    }
}
