//! Removes data past its time.

use std::collections::HashSet;

use tokio_postgres::Row;
use uuid::Uuid;

use super::batch;
use super::blobs;
use super::call::Call;
use super::classes;
use super::counters;
use super::fault::{Fault, get, get_hash, get_u8};
use super::files;
use super::nodes::id_of;
use super::params::params;
use super::tx::{Mode, Tx};
use super::workers;
use crate::rows::state_of;
use crate::{Orphans, Pruned, Purged, StorageError};
use cofferdam_domain::module::Digest;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{BlobId, TaskId};
use cofferdam_domain::time::Timestamp;

/// The advisory lock of a transaction that prunes: one host at a time decides what is too much.
const PRUNING: i64 = 0x4366_6672_0002;
/// Dedup keys removed in one call.
const KEYS_MAX: i64 = 10_000;

macro_rules! select_old {
    ($rest:literal) => {
        concat!(
            "SELECT t.seq, s.id, t.state, s.blob, t.change, t.batch, t.tenant, t.kept_bytes,
                t.workflow
             FROM cofferdam.task t JOIN cofferdam.task_spec s ON s.seq = t.seq ",
            $rest
        )
    };
}

/// The oldest final tasks: those finished before $1, and those beyond a number. Two ranges of one
/// index, because the second does not ask when.
const BY_AGE: &str = select_old!(
    "WHERE t.state >= 3 AND t.finished_at < $1 AND (t.workflow IS NULL OR NOT EXISTS (
        SELECT 1 FROM cofferdam.workflow w
        WHERE w.seq = t.workflow AND (w.finished_at IS NULL OR w.finished_at >= $1)))
     ORDER BY t.finished_at, t.seq LIMIT $2 FOR UPDATE OF t SKIP LOCKED"
);
const BY_NUMBER: &str = select_old!(
    "WHERE t.state >= 3 AND (t.workflow IS NULL OR NOT EXISTS (
        SELECT 1 FROM cofferdam.workflow w
        WHERE w.seq = t.workflow AND w.finished_at IS NULL))
     ORDER BY t.finished_at, t.seq LIMIT $1 FOR UPDATE OF t SKIP LOCKED"
);
const OF_WORKFLOWS: &str = select_old!(
    "WHERE t.seq IN (SELECT n.seq FROM cofferdam.node n WHERE n.workflow = ANY($1::int8[]))
     ORDER BY t.seq FOR UPDATE OF t"
);
/// These workflows, each with its number of nodes, and those without nodes that are as old as tasks may be. They
/// are locked, so that nobody tries one again meanwhile.
const WORKFLOWS: &str = "
    SELECT r.seq, r.nodes FROM cofferdam.workflow r
    WHERE r.finished_at IS NOT NULL AND r.seq IN (
        SELECT unnest($1::int8[])
        UNION ALL
        (SELECT w.seq FROM cofferdam.workflow w
         WHERE w.nodes = 0 AND w.finished_at < $2 LIMIT 1000))
    ORDER BY r.seq FOR UPDATE SKIP LOCKED";
const REMOVE_WORKFLOWS: &str = "
    WITH w AS (
        DELETE FROM cofferdam.workflow WHERE seq = ANY($1::int8[]) RETURNING seq, tenant, kept_bytes),
    s AS (DELETE FROM cofferdam.workflow_spec s USING w WHERE s.seq = w.seq),
    n AS (DELETE FROM cofferdam.node n USING w WHERE n.workflow = w.seq),
    g AS (DELETE FROM cofferdam.workflow_signal g USING w WHERE g.workflow = w.seq)
    SELECT tenant, kept_bytes FROM w";
const BY_ID: &str =
    select_old!("WHERE s.id = $1 AND ($2::text IS NULL OR s.tenant = $2) FOR UPDATE OF t");
/// In the order of an index.
const OF_TENANT: &str = select_old!(
    "WHERE t.tenant = $1 AND t.state >= 3 AND (t.workflow IS NULL OR NOT EXISTS (
        SELECT 1 FROM cofferdam.workflow w
        WHERE w.seq = t.workflow AND w.finished_at IS NULL))
     ORDER BY t.change LIMIT $2 FOR UPDATE OF t SKIP LOCKED"
);
const UNREFERRED: &str = "
    SELECT a.id FROM unnest($1::uuid[]) WITH ORDINALITY AS a(id, place)
    WHERE NOT EXISTS (SELECT 1 FROM cofferdam.task_spec s WHERE s.blob = a.id) ORDER BY a.place";
const OLD_KEYS: &str = "
    DELETE FROM cofferdam.dedup WHERE (key, tenant) IN (
        SELECT key, tenant FROM cofferdam.dedup WHERE expires_at <= $1 LIMIT $2)";

/// Templates no task has, and versions that neither a template nor a name refers to.
const UNUSED: &str = "
    SELECT EXISTS (
        SELECT 1 FROM cofferdam.template p
        WHERE NOT EXISTS (SELECT 1 FROM cofferdam.task_spec s WHERE s.template = p.id))
    OR EXISTS (
        SELECT 1 FROM cofferdam.module m
        WHERE NOT EXISTS (SELECT 1 FROM cofferdam.module_version v WHERE v.digest = m.digest)
            AND NOT EXISTS (SELECT 1 FROM cofferdam.template p WHERE p.digest = m.digest))";
const REMOVE_TEMPLATES: &str = "
    DELETE FROM cofferdam.template p
    WHERE NOT EXISTS (SELECT 1 FROM cofferdam.task_spec s WHERE s.template = p.id)";
const REMOVE_NAMES: &str = "
    DELETE FROM cofferdam.module_name n
    WHERE NOT EXISTS (SELECT 1 FROM cofferdam.template p WHERE p.name = n.id)";
const REMOVE_MODULES: &str = "
    DELETE FROM cofferdam.module m
    WHERE NOT EXISTS (SELECT 1 FROM cofferdam.module_version v WHERE v.digest = m.digest)
        AND NOT EXISTS (SELECT 1 FROM cofferdam.template p WHERE p.digest = m.digest)
    RETURNING m.digest, m.blob";

const REMOVE_OUTPUTS: &str =
    "DELETE FROM cofferdam.output WHERE seq = ANY($1::int8[]) RETURNING blob";

struct OldTask {
    seq: i64,
    id: Uuid,
    state: TaskState,
    blob: Option<Uuid>,
    change: i64,
    batch: Option<Uuid>,
    tenant: String,
    kept_bytes: i64,
    workflow: Option<i64>,
}

fn old_task(row: &Row) -> Result<OldTask, StorageError> {
    Ok(OldTask {
        seq: get(row, 0)?,
        id: get(row, 1)?,
        state: state_of(get_u8(row, 2)?)?,
        blob: get(row, 3)?,
        change: get(row, 4)?,
        batch: get(row, 5)?,
        tenant: get(row, 6)?,
        kept_bytes: get(row, 7)?,
        workflow: get(row, 8)?,
    })
}

/// Removes up to `limit` final tasks, and then what they alone referred to.
pub(super) async fn prune(
    call: &Call,
    finished_before: Timestamp,
    keep_max: u64,
    limit: u32,
    now: Timestamp,
) -> Result<Pruned, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let sql = "SELECT pg_try_advisory_xact_lock($1)";
    let row = tx.query_opt(sql, params![PRUNING]).await?;
    let is_alone = row.map(|row| get(&row, 0)).transpose()?.unwrap_or(false);
    if !is_alone {
        tx.rollback().await?;
        return Ok(Pruned::default());
    }
    let old = old_tasks(&mut tx, finished_before, keep_max, limit).await?;
    let old = with_workflows(&mut tx, old, finished_before, limit).await?;
    let blobs = remove(&mut tx, &old).await?;
    tx.later(OLD_KEYS, params![now.as_millis(), KEYS_MAX]);
    workers::remove_silent(&mut tx, now);
    tx.later(
        batch::REMOVE_WITHOUT_TASKS,
        params![finished_before.as_millis()],
    );
    tx.commit().await?;
    let modules = match remove_unused_modules(call).await {
        Ok(modules) => modules,
        Err(fault) => {
            tracing::warn!(error = %fault.error, "versions that nothing refers to were left behind");
            Vec::new()
        }
    };
    Ok(Pruned {
        tasks: old.iter().map(|task| TaskId(task.id)).collect(),
        blobs,
        modules,
    })
}

/// Removes one final task. The next prune removes what only this task referred to, except its
/// input.
pub(super) async fn purge(call: &Call, id: TaskId) -> Result<Purged, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let found = tx.query_opt(BY_ID, params![id.0, tx.tenant()]).await?;
    let Some(task) = found.as_ref().map(old_task).transpose()? else {
        tx.rollback().await?;
        return Ok(Purged::Unknown);
    };
    if let Some(workflow) = task.workflow {
        let workflow = id_of(&mut tx, workflow).await?;
        tx.rollback().await?;
        return Ok(Purged::OfWorkflow(workflow));
    }
    if !task.state.is_final() {
        tx.rollback().await?;
        return Ok(Purged::NotFinal(task.state));
    }
    let blobs = remove(&mut tx, std::slice::from_ref(&task)).await?;
    tx.commit().await?;
    Ok(Purged::Removed(Pruned {
        tasks: vec![id],
        blobs,
        modules: Vec::new(),
    }))
}

/// Removes up to `limit` final tasks of the one tenant that the call is about.
pub(super) async fn purge_some(call: &Call, limit: u32) -> Result<Pruned, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let wanted = params![tx.tenant(), i64::from(limit)];
    let rows = tx.query(OF_TENANT, wanted).await?;
    let tasks: Result<Vec<OldTask>, StorageError> = rows.iter().map(old_task).collect();
    let tasks = with_workflows(&mut tx, tasks?, Timestamp::EPOCH, limit).await?;
    let blobs = remove(&mut tx, &tasks).await?;
    match tasks.is_empty() {
        true => tx.rollback().await?,
        false => tx.commit().await?,
    }
    Ok(Pruned {
        tasks: tasks.iter().map(|task| TaskId(task.id)).collect(),
        blobs,
        modules: Vec::new(),
    })
}

async fn old_tasks(
    tx: &mut Tx,
    finished_before: Timestamp,
    keep_max: u64,
    limit: u32,
) -> Result<Vec<OldTask>, Fault> {
    let aged = params![finished_before.as_millis(), i64::from(limit)];
    let by_age = tx.query(BY_AGE, aged).await?;
    let excess = counters::finals(tx).await?.saturating_sub(keep_max);
    let excess = excess.min(u64::from(limit));
    let rows = if excess <= u64::try_from(by_age.len()).unwrap_or(u64::MAX) {
        by_age
    } else {
        // Oldest first: whatever was found by age is at the head of this list too.
        let excess = i64::try_from(excess).unwrap_or(i64::MAX);
        tx.query(BY_NUMBER, params![excess]).await?
    };
    let tasks: Result<_, StorageError> = rows.iter().map(old_task).collect();
    Ok(tasks?)
}

/// Replaces each node by all tasks of its workflow, and removes the rows of that workflow itself; a few
/// whole workflows at a time.
async fn with_workflows(
    tx: &mut Tx,
    old: Vec<OldTask>,
    finished_before: Timestamp,
    limit: u32,
) -> Result<Vec<OldTask>, Fault> {
    let workflows: Vec<i64> = old.iter().filter_map(|task| task.workflow).collect();
    let mut old: Vec<OldTask> = old.into_iter().filter(|it| it.workflow.is_none()).collect();
    let wanted = params![workflows, finished_before.as_millis()];
    let mut room = usize::try_from(limit).unwrap_or(usize::MAX);
    room = room.saturating_sub(old.len()).max(1);
    let mut whole: Vec<i64> = Vec::new();
    for row in tx.query(WORKFLOWS, wanted).await? {
        let nodes = usize::try_from(get::<i32>(&row, 1)?).map_err(StorageError::corrupt)?;
        if room > 0 {
            whole.push(get(&row, 0)?);
            room = room.saturating_sub(nodes);
        }
    }
    if whole.is_empty() {
        return Ok(old);
    }
    for row in tx.query(OF_WORKFLOWS, params![whole.clone()]).await? {
        old.push(old_task(&row)?);
    }
    for row in tx.query(REMOVE_WORKFLOWS, params![whole]).await? {
        tx.kept(get(&row, 0)?, -get::<i64>(&row, 1)?);
    }
    Ok(old)
}

/// Removes every row of these tasks; answers with the spooled inputs that nothing else refers to.
async fn remove(tx: &mut Tx, tasks: &[OldTask]) -> Result<Vec<BlobId>, Fault> {
    if tasks.is_empty() {
        return Ok(Vec::new());
    }
    let seqs: Vec<i64> = tasks.iter().map(|task| task.seq).collect();
    for sql in [
        "DELETE FROM cofferdam.task WHERE seq = ANY($1::int8[])",
        "DELETE FROM cofferdam.task_spec WHERE seq = ANY($1::int8[])",
        "DELETE FROM cofferdam.attempt WHERE seq = ANY($1::int8[])",
    ] {
        tx.query(sql, params![seqs.clone()]).await?;
    }
    let outputs = tx.query(REMOVE_OUTPUTS, params![seqs]).await?;
    blobs::unrefer(tx, blobs::hashes(&outputs, 0)?);
    let ids: Vec<Uuid> = tasks.iter().map(|task| task.id).collect();
    files::remove_of_tasks(tx, ids);
    for task in tasks {
        tx.count(&task.tenant, task.state, -1);
        tx.kept(&task.tenant, -task.kept_bytes);
    }
    // A number is never given again, and whoever has seen the newest asks for what comes behind it.
    let newest = tasks.iter().map(|task| task.change).max().unwrap_or(0);
    tx.later(
        "UPDATE cofferdam.change_base SET newest = $1 WHERE newest < $1",
        params![newest],
    );
    let batches: HashSet<Uuid> = tasks.iter().filter_map(|task| task.batch).collect();
    if !batches.is_empty() {
        let batches: Vec<Uuid> = batches.into_iter().collect();
        tx.later(batch::REMOVE_EMPTY, params![batches]);
    }
    let mut seen = HashSet::new();
    let blobs = tasks.iter().filter_map(|task| task.blob);
    let blobs: Vec<Uuid> = blobs.filter(|blob| seen.insert(*blob)).collect();
    if blobs.is_empty() {
        return Ok(Vec::new());
    }
    let rows = tx.query(UNREFERRED, params![blobs]).await?;
    let unreferred: Result<Vec<Uuid>, StorageError> = rows.iter().map(|row| get(row, 0)).collect();
    let unreferred = unreferred?;
    files::remove_inputs(tx, unreferred.clone());
    Ok(unreferred.into_iter().map(BlobId).collect())
}

async fn remove_unused_modules(call: &Call) -> Result<Vec<Digest>, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let row = tx.query_opt(UNUSED, params![]).await?;
    if !row.map(|row| get(&row, 0)).transpose()?.unwrap_or(false) {
        tx.rollback().await?;
        return Ok(Vec::new());
    }
    // From here on nobody begins to refer to any of them.
    tx.lock_out_referrers().await?;
    tx.query(REMOVE_TEMPLATES, params![]).await?;
    tx.query(REMOVE_NAMES, params![]).await?;
    tx.query(classes::REMOVE_UNUSED, params![]).await?;
    let rows = tx.query(REMOVE_MODULES, params![]).await?;
    let digests: Result<_, StorageError> = rows
        .iter()
        .map(|row| Ok(Digest::from_bytes(get_hash(row, 0)?)))
        .collect();
    blobs::unrefer(&mut tx, blobs::hashes(&rows, 1)?);
    tx.commit().await?;
    call.db.templates().clear();
    Ok(digests?)
}

/// The `blobs` and `tasks` that nothing in the database refers to.
pub(super) async fn orphans(
    tx: &mut Tx,
    blobs: &[BlobId],
    tasks: &[TaskId],
) -> Result<Orphans, Fault> {
    const TASKS: &str = "
        SELECT a.id FROM unnest($1::uuid[]) WITH ORDINALITY AS a(id, place)
        WHERE NOT EXISTS (SELECT 1 FROM cofferdam.task_spec s WHERE s.id = a.id)
        ORDER BY a.place";
    let blobs: Vec<Uuid> = blobs.iter().map(|blob| blob.0).collect();
    let tasks: Vec<Uuid> = tasks.iter().map(|task| task.0).collect();
    let mut orphans = Orphans::default();
    for row in tx.query(UNREFERRED, params![blobs]).await? {
        orphans.blobs.push(BlobId(get(&row, 0)?));
    }
    for row in tx.query(TASKS, params![tasks]).await? {
        orphans.tasks.push(TaskId(get(&row, 0)?));
    }
    Ok(orphans)
}
