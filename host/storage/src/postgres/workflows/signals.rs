//! Signals, each of which one node waits for or will.

use super::change::locked;
use crate::postgres::call::Call;
use crate::postgres::fault::{Fault, get};
use crate::postgres::params::{Raw, params, text};
use crate::postgres::tx::{Mode, Tx};
use crate::workflows::WORKFLOW_SIGNALS_MAX;
use crate::{NewSignal, Signalled, StorageError};
use cofferdam_domain::task::TaskId;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::workflow::WorkflowId;

const EARLIER: &str = "
    SELECT fingerprint FROM cofferdam.workflow_signal WHERE workflow = $1 AND idempotency_key = $2";
/// The node that waits for it longest.
const WAITING: &str = "
    SELECT n.place, t.seq, s.id FROM cofferdam.node n JOIN cofferdam.task t ON t.seq = n.seq
    JOIN cofferdam.task_spec s ON s.seq = n.seq
    WHERE n.workflow = $1 AND n.waits = 2 AND n.waits_for = $2 AND t.state IN (0, 1)
        AND NOT EXISTS (SELECT 1 FROM cofferdam.workflow_signal g
            WHERE g.workflow = $1 AND g.place = n.place)
    ORDER BY t.updated_at, n.place LIMIT 1 FOR UPDATE OF t";
const INSERT: &str = "
    INSERT INTO cofferdam.workflow_signal (workflow, number, tenant, name, idempotency_key, fingerprint,
        content_type, payload, place)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const NOTE: &str = "
    UPDATE cofferdam.workflow SET signals = signals + 1, kept_bytes = kept_bytes + $2, change = change + 1,
        updated_at = $3
    WHERE seq = $1";
const GO_ON: &str = "
    UPDATE cofferdam.task SET run_at = $2, updated_at = $2, change = cofferdam.change_number(0)
    WHERE seq = $1";

/// Gives a signal to a node, or keeps it.
pub(in crate::postgres) async fn signal(
    call: &Call,
    id: WorkflowId,
    signal: &NewSignal,
    now: Timestamp,
) -> Result<Signalled, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let answer = give(&mut tx, id, signal, now).await?;
    match answer {
        Signalled::Given(_) | Signalled::Kept => tx.commit().await?,
        Signalled::Repeated
        | Signalled::Conflict
        | Signalled::Final(_)
        | Signalled::TooMany
        | Signalled::Unknown => tx.rollback().await?,
    }
    Ok(answer)
}

async fn give(
    tx: &mut Tx,
    id: WorkflowId,
    signal: &NewSignal,
    now: Timestamp,
) -> Result<Signalled, Fault> {
    let Some(workflow) = locked(tx, id).await? else {
        return Ok(Signalled::Unknown);
    };
    let key = signal.idempotency_key.as_ref();
    let key = key.map(|key| Raw::copy(key.as_bytes()));
    if key.is_some()
        && let Some(row) = tx
            .query_opt(EARLIER, params![workflow.seq, key.clone()])
            .await?
    {
        let is_same = get::<&[u8]>(&row, 0)? == signal.fingerprint;
        return Ok(match is_same {
            true => Signalled::Repeated,
            false => Signalled::Conflict,
        });
    }
    if workflow.state.is_final() {
        return Ok(Signalled::Final(workflow.state));
    }
    if workflow.signals >= WORKFLOW_SIGNALS_MAX {
        return Ok(Signalled::TooMany);
    }
    let wanted = params![workflow.seq, text(&signal.name)];
    let waiting = tx.query_opt(WAITING, wanted).await?;
    let place: Option<i32> = waiting.as_ref().map(|row| get(row, 0)).transpose()?;
    let number = i32::try_from(workflow.signals).map_err(StorageError::corrupt)?;
    let bytes = i64::try_from(signal.payload.body.len()).map_err(StorageError::corrupt)?;
    tx.later(
        INSERT,
        params![
            workflow.seq,
            number,
            workflow.tenant.clone(),
            text(&signal.name),
            key,
            Raw::copy(&signal.fingerprint),
            text(&signal.payload.content_type),
            Raw(signal.payload.body.clone()),
            place,
        ],
    );
    tx.later(NOTE, params![workflow.seq, bytes, now.as_millis()]);
    tx.kept(&workflow.tenant, bytes);
    let Some(waiting) = waiting else {
        return Ok(Signalled::Kept);
    };
    let seq: i64 = get(&waiting, 1)?;
    tx.later(GO_ON, params![seq, now.as_millis()]);
    Ok(Signalled::Given(TaskId(get(&waiting, 2)?)))
}
