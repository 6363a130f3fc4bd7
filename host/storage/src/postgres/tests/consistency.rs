//! What is wrong with a database in which workflows and their nodes do not fit together.

/// Each counts what it finds.
pub(super) const WRONG: [&str; 5] = [
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
