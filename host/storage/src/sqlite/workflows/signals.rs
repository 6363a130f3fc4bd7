//! Signals, each of which one node waits for or will.

use rusqlite::{OptionalExtension, params};

use super::change::found;
use crate::sqlite::db::Db;
use crate::workflows::WORKFLOW_SIGNALS_MAX;
use crate::{NewSignal, Signalled, StorageError};
use cofferdam_domain::task::TaskId;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;
use cofferdam_domain::workflow::WorkflowId;

/// The node that waits for it longest.
const WAITING: &str = "
    SELECT n.place, t.seq, t.id FROM node n JOIN task t ON t.seq = n.seq
    WHERE n.workflow = ?1 AND n.waits = 2 AND n.waits_for = ?2 AND t.state IN (0, 1)
        AND NOT EXISTS (SELECT 1 FROM workflow_signal g WHERE g.workflow = ?1 AND g.place = n.place)
    ORDER BY t.updated_at, n.place LIMIT 1";
const INSERT: &str = "
    INSERT INTO workflow_signal (workflow, number, name, idempotency_key, fingerprint, content_type,
        payload, place)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const GO_ON: &str = "UPDATE task SET run_at = ?2, updated_at = ?2, change = ?3 WHERE seq = ?1";

/// Gives a signal to a node, or keeps it.
pub(in crate::sqlite) fn signal(
    db: &mut Db,
    whose: &Whose,
    id: WorkflowId,
    signal: &NewSignal,
    now: Timestamp,
) -> Result<Signalled, StorageError> {
    let Some(workflow) = found(&db.conn, whose, id)? else {
        return Ok(Signalled::Unknown);
    };
    let earlier: Option<[u8; 16]> = db
        .conn
        .prepare_cached(
            "SELECT fingerprint FROM workflow_signal WHERE workflow = ?1 AND idempotency_key = ?2",
        )?
        .query_row(params![workflow.seq, signal.idempotency_key], |row| {
            row.get(0)
        })
        .optional()?;
    match earlier {
        Some(fingerprint) if fingerprint == signal.fingerprint => return Ok(Signalled::Repeated),
        Some(_) => return Ok(Signalled::Conflict),
        None if workflow.state.is_final() => return Ok(Signalled::Final(workflow.state)),
        None if workflow.signals >= WORKFLOW_SIGNALS_MAX => return Ok(Signalled::TooMany),
        None => {}
    }
    let waiting: Option<(u32, i64, [u8; 16])> = db
        .conn
        .prepare_cached(WAITING)?
        .query_row(params![workflow.seq, signal.name], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    db.conn.prepare_cached(INSERT)?.execute(params![
        workflow.seq,
        workflow.signals,
        signal.name,
        signal.idempotency_key,
        signal.fingerprint,
        &*signal.payload.content_type,
        &signal.payload.body[..],
        waiting.map(|(place, ..)| place),
    ])?;
    let bytes = i64::try_from(signal.payload.body.len()).map_err(StorageError::corrupt)?;
    db.conn
        .prepare_cached(
            "UPDATE workflow SET signals = signals + 1, kept_bytes = kept_bytes + ?2,
                change = change + 1, updated_at = ?3 WHERE seq = ?1",
        )?
        .execute(params![workflow.seq, bytes, now.as_millis()])?;
    db.tallies.kept(&workflow.tenant, bytes);
    let Some((_, seq, task)) = waiting else {
        return Ok(Signalled::Kept);
    };
    let change = db.tallies.next_change();
    db.conn
        .prepare_cached(GO_ON)?
        .execute(params![seq, now.as_millis(), change])?;
    Ok(Signalled::Given(TaskId(uuid::Uuid::from_bytes(task))))
}
