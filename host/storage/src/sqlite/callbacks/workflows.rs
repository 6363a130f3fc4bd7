//! Callbacks of workflows: their rows, and the deliveries of their ends. Taking and settling deliveries is the same for
//! whatever ended.

use rusqlite::{Connection, params};

use super::FORGET_OLD;
use crate::StorageError;
use crate::callbacks::{ENDS_KEPT, WORKFLOWS};
use cofferdam_domain::callback::Callback;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::secret::SecretName;

const INSERT: &str = "
    INSERT INTO callback (seq, tenant, url, place, secret, workflow) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
/// States of workflows are one below those of tasks, and `run` is in the place of a task's attempts.
const TOLD_NOW: &str = "
    INSERT INTO delivery (seq, number, tenant, place, state, attempt, finished_at, since, due_at)
    SELECT c.seq, 1 + coalesce((SELECT max(d.number) FROM delivery d WHERE d.seq = c.seq), 0),
        c.tenant, c.place, w.state + 1, w.run, w.finished_at, w.finished_at, w.finished_at
    FROM workflow w JOIN callback c ON c.seq = w.seq + 4611686018427387904
    WHERE w.seq = ?1 AND w.state >= 2 AND (w.callback >> (w.state - 2)) & 1 = 1";
/// A callback, and its newest end.
pub(super) const CALLBACK: &str = "
    SELECT c.url, c.secret, w.callback, d.status, d.tries, d.due_at, d.last_status, d.last_error
    FROM workflow w JOIN callback c ON c.seq = w.seq + 4611686018427387904
    LEFT JOIN delivery d ON d.seq = c.seq
        AND d.number = (SELECT max(n.number) FROM delivery n WHERE n.seq = c.seq)
    WHERE w.id = ?1 AND (?2 IS NULL OR w.tenant = ?2)";
/// The newest end, if there is one.
pub(super) const NEWEST: &str = "
    SELECT NULL, d.seq, d.number, d.taken AND d.status = 0
    FROM workflow w LEFT JOIN delivery d ON d.seq = w.seq + 4611686018427387904
        AND d.number = (SELECT max(n.number) FROM delivery n WHERE n.seq = w.seq + 4611686018427387904)
    WHERE w.id = ?1 AND (?2 IS NULL OR w.tenant = ?2)";

/// Keeps whom a workflow's ends are told. One that is final already is told at once.
pub(in crate::sqlite) fn insert_of_workflow(
    conn: &Connection,
    workflow: i64,
    tenant: &Tenant,
    callback: &Callback,
) -> Result<(), StorageError> {
    conn.prepare_cached(INSERT)?.execute(params![
        WORKFLOWS + workflow,
        tenant.as_str(),
        callback.url.as_str(),
        callback.url.place(),
        callback.secret.as_ref().map(SecretName::as_str),
        workflow,
    ])?;
    conn.prepare_cached("UPDATE workflow SET callback = ?2 WHERE seq = ?1")?
        .execute(params![workflow, callback.on.bits()])?;
    workflow_is_told(conn, workflow)
}

/// Makes the delivery of a workflow's end, if it has ended so that somebody is told. Part of the transaction that makes
/// it final.
pub(in crate::sqlite) fn workflow_is_told(
    conn: &Connection,
    workflow: i64,
) -> Result<(), StorageError> {
    conn.prepare_cached(TOLD_NOW)?.execute([workflow])?;
    conn.prepare_cached(FORGET_OLD)?
        .execute([WORKFLOWS + workflow, i64::from(ENDS_KEPT)])?;
    Ok(())
}
