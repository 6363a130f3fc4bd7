//! Removes data past its time.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params};

use super::batch;
use super::callbacks;
use super::classes;
use super::db::Db;
use super::nodes;
use super::record::ATTEMPTS_PER_TASK;
use super::workers;
use crate::blobs::BlobHash;
use crate::rows::state_of;
use crate::{Orphans, Pruned, Purged, StorageError};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::module::Digest;
use cofferdam_domain::task::{BlobId, TaskId};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;

/// The columns of an [`OldTask`].
macro_rules! select_old {
    ($rest:literal) => {
        concat!(
            "SELECT seq, id, template, state, batch, tenant, kept_bytes, callback IS NOT NULL, workflow
             FROM task ",
            $rest
        )
    };
}

/// The oldest final tasks: those finished before ?1, and at least ?2 of them, but never more than
/// ?3. It uses two ranges of one index, because the second does not depend on time. A node goes with its workflow,
/// once that is as old.
const BY_AGE: &str = select_old!(
    "WHERE state >= 3 AND finished_at < ?1 AND (workflow IS NULL OR NOT EXISTS (
        SELECT 1 FROM workflow w
        WHERE w.seq = task.workflow AND (w.finished_at IS NULL OR w.finished_at >= ?1)))
     ORDER BY finished_at, seq LIMIT ?2"
);
const BY_NUMBER: &str = select_old!(
    "WHERE state >= 3 AND (workflow IS NULL OR NOT EXISTS (
        SELECT 1 FROM workflow w WHERE w.seq = task.workflow AND w.finished_at IS NULL))
     ORDER BY finished_at, seq LIMIT ?1"
);
const BY_ID: &str = select_old!("WHERE id = ?1 AND (?2 IS NULL OR tenant = ?2)");
const OF_WORKFLOW: &str =
    select_old!("WHERE seq IN (SELECT n.seq FROM node n WHERE n.workflow = ?1)");

const OF_TENANT: &str = select_old!(
    "INDEXED BY task_tenant
     WHERE tenant = ?1 AND state >= 3 AND (workflow IS NULL OR NOT EXISTS (
        SELECT 1 FROM workflow w WHERE w.seq = task.workflow AND w.finished_at IS NULL)) LIMIT ?2"
);

/// Removes up to `limit` final tasks, and then what only they referred to. Returns that, and the
/// blobs that they had.
pub(super) fn prune(
    db: &mut Db,
    finished_before: Timestamp,
    keep_max: u64,
    limit: u32,
    now: Timestamp,
) -> Result<(Pruned, Vec<BlobHash>), StorageError> {
    let mut pruned = Pruned::default();
    let mut blobs = Vec::new();
    let old = old_tasks(db, finished_before, keep_max, limit)?;
    for old in with_workflows(db, old, limit)? {
        if let Some(blob) = remove_task(db, &old, &mut blobs)? {
            pruned.blobs.push(blob);
        }
        pruned.tasks.push(old.id);
    }
    for workflow in empty_workflows(&db.conn, finished_before)? {
        remove_workflow(db, workflow)?;
    }
    db.conn
        .prepare_cached("DELETE FROM dedup WHERE expires_at <= ?1")?
        .execute([now.as_millis()])?;
    workers::remove_silent(&db.conn, now)?;
    batch::remove_without_tasks(&db.conn, finished_before)?;
    pruned.modules = remove_unused_modules(db, &mut blobs)?;
    Ok((pruned, blobs))
}

/// Removes one final task. The next prune removes what only this task referred to, except its
/// input.
pub(super) fn purge(
    db: &mut Db,
    whose: &Whose,
    id: TaskId,
) -> Result<(Purged, Vec<BlobHash>), StorageError> {
    let found = db
        .conn
        .prepare_cached(BY_ID)?
        .query_row(params![id.0.as_bytes(), whose.name()], old_task)
        .optional()?;
    let Some(task) = found else {
        return Ok((Purged::Unknown, Vec::new()));
    };
    if let Some(workflow) = task.workflow {
        let workflow = nodes::id_of(&db.conn, workflow)?;
        return Ok((Purged::OfWorkflow(workflow), Vec::new()));
    }
    let state = state_of(task.state)?;
    if !state.is_final() {
        return Ok((Purged::NotFinal(state), Vec::new()));
    }
    let mut outputs = Vec::new();
    let input = remove_task(db, &task, &mut outputs)?;
    let pruned = Pruned {
        tasks: vec![id],
        blobs: input.into_iter().collect(),
        modules: Vec::new(),
    };
    Ok((Purged::Removed(pruned), outputs))
}

/// Removes up to `limit` final tasks of a tenant.
pub(super) fn purge_some(
    db: &mut Db,
    tenant: &Tenant,
    limit: u32,
) -> Result<(Pruned, Vec<BlobHash>), StorageError> {
    let tasks: Vec<OldTask> = db
        .conn
        .prepare_cached(OF_TENANT)?
        .query_map(params![tenant.as_str(), limit], old_task)?
        .collect::<Result<_, _>>()?;
    let (mut pruned, mut outputs) = (Pruned::default(), Vec::new());
    for task in with_workflows(db, tasks, limit)? {
        pruned.blobs.extend(remove_task(db, &task, &mut outputs)?);
        pruned.tasks.push(task.id);
    }
    Ok((pruned, outputs))
}

struct OldTask {
    seq: i64,
    id: TaskId,
    template: i64,
    state: u8,
    batch: Option<[u8; 16]>,
    tenant: String,
    kept_bytes: i64,
    has_callback: bool,
    workflow: Option<i64>,
}

fn old_task(row: &rusqlite::Row<'_>) -> rusqlite::Result<OldTask> {
    Ok(OldTask {
        seq: row.get(0)?,
        id: TaskId(uuid::Uuid::from_bytes(row.get(1)?)),
        template: row.get(2)?,
        state: row.get(3)?,
        batch: row.get(4)?,
        tenant: row.get(5)?,
        kept_bytes: row.get(6)?,
        has_callback: row.get(7)?,
        workflow: row.get(8)?,
    })
}

fn old_tasks(
    db: &Db,
    finished_before: Timestamp,
    keep_max: u64,
    limit: u32,
) -> Result<Vec<OldTask>, StorageError> {
    let by_age: Vec<OldTask> = db
        .conn
        .prepare_cached(BY_AGE)?
        .query_map(params![finished_before.as_millis(), limit], old_task)?
        .collect::<Result<_, _>>()?;
    let excess = db
        .tallies
        .finals()
        .saturating_sub(keep_max)
        .min(u64::from(limit));
    if excess <= u64::try_from(by_age.len()).unwrap_or(u64::MAX) {
        return Ok(by_age);
    }
    // Oldest first: the tasks found by age are also at the head of this list.
    let excess = i64::try_from(excess).unwrap_or(i64::MAX);
    let by_number = db
        .conn
        .prepare_cached(BY_NUMBER)?
        .query_map([excess], old_task)?
        .collect::<Result<_, _>>()?;
    Ok(by_number)
}

/// Replaces each node by all tasks of its workflow, and removes the rows of that workflow itself; a few
/// whole workflows at a time.
fn with_workflows(
    db: &mut Db,
    old: Vec<OldTask>,
    limit: u32,
) -> Result<Vec<OldTask>, StorageError> {
    let mut gone = Vec::new();
    let mut workflows = BTreeSet::new();
    for old in old {
        match old.workflow {
            None => gone.push(old),
            Some(workflow) => {
                workflows.insert(workflow);
            }
        }
    }
    for workflow in workflows {
        if gone.is_empty() || gone.len() < usize::try_from(limit).unwrap_or(usize::MAX) {
            gone.extend(tasks_of(&db.conn, workflow)?);
            remove_workflow(db, workflow)?;
        }
    }
    Ok(gone)
}

/// The tasks of a workflow.
fn tasks_of(conn: &Connection, workflow: i64) -> Result<Vec<OldTask>, StorageError> {
    let tasks = conn
        .prepare_cached(OF_WORKFLOW)?
        .query_map([workflow], old_task)?
        .collect::<Result<_, _>>()?;
    Ok(tasks)
}

fn empty_workflows(
    conn: &Connection,
    finished_before: Timestamp,
) -> Result<Vec<i64>, StorageError> {
    let workflows = conn
        .prepare_cached("SELECT seq FROM workflow WHERE nodes = 0 AND finished_at < ?1 LIMIT 1000")?
        .query_map([finished_before.as_millis()], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(workflows)
}

/// Removes a workflow, but for its tasks.
fn remove_workflow(db: &mut Db, workflow: i64) -> Result<(), StorageError> {
    let found: Option<(String, i64)> = db
        .conn
        .prepare_cached("SELECT tenant, kept_bytes FROM workflow WHERE seq = ?1")?
        .query_row([workflow], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((tenant, kept_bytes)) = found else {
        return Ok(());
    };
    for sql in [
        "DELETE FROM node_plan WHERE seq IN (SELECT seq FROM node WHERE workflow = ?1)",
        "DELETE FROM node WHERE workflow = ?1",
        "DELETE FROM workflow_signal WHERE workflow = ?1",
        "DELETE FROM workflow_spec WHERE seq = ?1",
        "DELETE FROM workflow WHERE seq = ?1",
    ] {
        db.conn.prepare_cached(sql)?.execute([workflow])?;
    }
    db.tallies.kept(&tenant, -kept_bytes);
    Ok(())
}

/// Removes every row of a task, and adds its large outputs to `outputs`; returns its spooled input
/// if nothing else refers to it.
fn remove_task(
    db: &mut Db,
    task: &OldTask,
    outputs: &mut Vec<BlobHash>,
) -> Result<Option<BlobId>, StorageError> {
    let blob: Option<[u8; 16]> = db
        .conn
        .prepare_cached("SELECT blob FROM task_spec WHERE seq = ?1")?
        .query_row([task.seq], |row| row.get(0))?;
    db.conn
        .prepare_cached("DELETE FROM task WHERE seq = ?1")?
        .execute([task.seq])?;
    db.conn
        .prepare_cached("DELETE FROM task_spec WHERE seq = ?1")?
        .execute([task.seq])?;
    let first = task.seq * ATTEMPTS_PER_TASK;
    db.conn
        .prepare_cached("DELETE FROM attempt WHERE id >= ?1 AND id < ?2")?
        .execute([first, first + ATTEMPTS_PER_TASK])?;
    let mut removed = db
        .conn
        .prepare_cached("DELETE FROM output WHERE attempt >= ?1 AND attempt < ?2 RETURNING blob")?;
    let mut rows = removed.query([first, first + ATTEMPTS_PER_TASK])?;
    while let Some(row) = rows.next()? {
        outputs.push(BlobHash(row.get(0)?));
    }
    if task.has_callback {
        callbacks::remove(&db.conn, task.seq)?;
    }
    if let Some(batch) = task.batch {
        batch::remove_if_empty(&db.conn, batch)?;
    }
    db.tallies
        .remove(&task.tenant, state_of(task.state)?, task.template);
    db.tallies.kept(&task.tenant, -task.kept_bytes);
    let Some(blob) = blob else {
        return Ok(None);
    };
    let still: Option<i64> = db
        .conn
        .prepare_cached("SELECT seq FROM task_spec WHERE blob = ?1 LIMIT 1")?
        .query_row([blob], |row| row.get(0))
        .optional()?;
    Ok(still
        .is_none()
        .then(|| BlobId(uuid::Uuid::from_bytes(blob))))
}

fn remove_unused_modules(
    db: &mut Db,
    blobs: &mut Vec<BlobHash>,
) -> Result<Vec<Digest>, StorageError> {
    // This transaction may have changed the counters that show unused templates.
    db.save_tallies()?;
    let gone = db
        .conn
        .prepare_cached("DELETE FROM template WHERE tasks = 0")?
        .execute([])?;
    if gone > 0 {
        db.templates.clear();
        classes::remove_unused(&db.conn)?;
        db.conn
            .prepare_cached(
                "DELETE FROM module_name WHERE NOT EXISTS
                    (SELECT 1 FROM template p WHERE p.name = module_name.id)",
            )?
            .execute([])?;
    }
    let mut statement = db.conn.prepare_cached(
        "DELETE FROM module
             WHERE NOT EXISTS (SELECT 1 FROM module_version v WHERE v.digest = module.digest)
                AND NOT EXISTS (SELECT 1 FROM template t WHERE t.digest = module.digest)
             RETURNING digest, blob",
    )?;
    let mut rows = statement.query([])?;
    let mut digests = Vec::new();
    while let Some(row) = rows.next()? {
        digests.push(Digest::from_bytes(row.get(0)?));
        blobs.extend(row.get::<_, Option<[u8; 32]>>(1)?.map(BlobHash));
    }
    Ok(digests)
}

/// The `blobs` and `tasks` that nothing in the database refers to.
pub(super) fn orphans(
    conn: &Connection,
    blobs: Vec<BlobId>,
    tasks: Vec<TaskId>,
) -> Result<Orphans, StorageError> {
    let mut orphans = Orphans::default();
    let mut by_blob = conn.prepare_cached("SELECT 1 FROM task_spec WHERE blob = ?1")?;
    for blob in blobs {
        if !by_blob.exists([blob.0.as_bytes()])? {
            orphans.blobs.push(blob);
        }
    }
    let mut by_id = conn.prepare_cached("SELECT 1 FROM task WHERE id = ?1")?;
    for task in tasks {
        if !by_id.exists([task.0.as_bytes()])? {
            orphans.tasks.push(task);
        }
    }
    Ok(orphans)
}
