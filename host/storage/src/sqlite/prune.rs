//! Removes data past its time.

use rusqlite::{Connection, OptionalExtension, params};

use super::batch;
use super::classes;
use super::db::Db;
use super::record::ATTEMPTS_PER_TASK;
use super::workers;
use crate::blobs::BlobHash;
use crate::rows::state_of;
use crate::{Orphans, Pruned, Purged, StorageError};
use cofferdam_domain::module::Digest;
use cofferdam_domain::task::{BlobId, TaskId};
use cofferdam_domain::time::Timestamp;

/// The oldest final tasks: those finished before ?1, and at least ?2 of them, but never more than
/// ?3. It uses two ranges of one index, because the second does not depend on time.
const BY_AGE: &str = "
    SELECT seq, id, template, state, batch FROM task WHERE state >= 3 AND finished_at < ?1
    ORDER BY finished_at, seq LIMIT ?2";
const BY_NUMBER: &str = "
    SELECT seq, id, template, state, batch FROM task WHERE state >= 3 ORDER BY finished_at, seq LIMIT ?1";

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
    for old in old_tasks(db, finished_before, keep_max, limit)? {
        if let Some(blob) = remove_task(db, &old, &mut blobs)? {
            pruned.blobs.push(blob);
        }
        pruned.tasks.push(old.id);
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
pub(super) fn purge(db: &mut Db, id: TaskId) -> Result<(Purged, Vec<BlobHash>), StorageError> {
    let found = db
        .conn
        .prepare_cached("SELECT seq, id, template, state, batch FROM task WHERE id = ?1")?
        .query_row([id.0.as_bytes()], old_task)
        .optional()?;
    let Some(task) = found else {
        return Ok((Purged::Unknown, Vec::new()));
    };
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

struct OldTask {
    seq: i64,
    id: TaskId,
    template: i64,
    state: u8,
    batch: Option<[u8; 16]>,
}

fn old_task(row: &rusqlite::Row<'_>) -> rusqlite::Result<OldTask> {
    Ok(OldTask {
        seq: row.get(0)?,
        id: TaskId(uuid::Uuid::from_bytes(row.get(1)?)),
        template: row.get(2)?,
        state: row.get(3)?,
        batch: row.get(4)?,
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
    if let Some(batch) = task.batch {
        batch::remove_if_empty(&db.conn, batch)?;
    }
    db.tallies.remove(state_of(task.state)?, task.template);
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
