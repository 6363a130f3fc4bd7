//! Batches: storing one with its tasks, looking at one, letting the next of its tasks in, and noticing its end.
//!
//! A task of a batch that bounds how many are under way has a place or waits for one. Whoever ends or
//! adds such a task gives the free places away in the same transaction, so that claims need to know
//! nothing of batches. Whoever ends the last one has the end told, if somebody is to be told.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::callbacks;
use super::db::Db;
use super::insert::{self, InBatch};
use crate::fate::Place;
use crate::rows::{pack, state_of, unpack};
use crate::{Batch, Bounds, Counts, InsertedBatch, StorageError};
use cofferdam_domain::batch::{BatchId, NewBatch};
use cofferdam_domain::task::{NewTask, TaskId};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;

const INSERT: &str = "
    INSERT INTO batch (id, parallelism, created_at, tasks, fingerprint, idempotency_key, task_ids, tenant)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const BY_KEY: &str = "
    SELECT id, fingerprint, task_ids FROM batch WHERE idempotency_key = ?1 AND tenant = ?2";
const TAKEN: &str = "
    SELECT (SELECT count(*) FROM task INDEXED BY task_batch WHERE batch = ?1 AND state = 2)
        + (SELECT count(*) FROM task INDEXED BY task_batch
           WHERE batch = ?1 AND state = 1 AND due_at IS NULL)";
const LET_IN: &str = "
    UPDATE task SET run_at = due_at, due_at = NULL WHERE seq IN (
        SELECT seq FROM task INDEXED BY task_batch
        WHERE batch = ?1 AND state = 1 AND due_at > -9223372036854775808
        ORDER BY due_at, priority, seq LIMIT ?2)";
const COUNTS: &str = "
    SELECT state, count(*) FROM task INDEXED BY task_batch WHERE batch = ?1 GROUP BY state";
const OPEN: &str = "
    SELECT id FROM task INDEXED BY task_batch
    WHERE batch = ?1 AND state < 3 AND (?2 IS NULL OR tenant = ?2)
    ORDER BY due_at IS NULL, state, seq";

/// Stores a batch and its tasks, all or none; or finds the one that was stored with its key.
pub(super) fn insert_batch(
    db: &mut Db,
    batch: &NewBatch,
    tasks: &[NewTask],
    bounds: Bounds,
    now: Timestamp,
) -> Result<InsertedBatch, StorageError> {
    if let Some(earlier) = earlier(&db.conn, batch)? {
        return Ok(earlier);
    }
    insert::all_or_none(db, |db| {
        let id = *batch.id.0.as_bytes();
        let bound = batch.bound(tasks.len());
        let inserted = insert::insert_within(db, tasks, Some(InBatch { id, bound }), bounds, now)?;
        let inserted = InsertedBatch::new(batch.id, tasks, &inserted);
        db.conn.prepare_cached(INSERT)?.execute(params![
            id,
            batch.parallelism,
            now.as_millis(),
            inserted.new_tasks,
            batch.fingerprint,
            batch.idempotency_key,
            pack(&inserted.tasks),
            batch.tenant.as_str(),
        ])?;
        if let Some(callback) = &batch.callback {
            callbacks::insert_of_batch(&db.conn, batch, callback)?;
        }
        // One in which no task is new has ended.
        task_ended(&db.conn, Place { batch: id, bound })?;
        Ok(inserted)
    })
}

fn earlier(conn: &Connection, batch: &NewBatch) -> Result<Option<InsertedBatch>, StorageError> {
    let Some(key) = &batch.idempotency_key else {
        return Ok(None);
    };
    let found: Option<([u8; 16], [u8; 16], Vec<u8>)> = conn
        .prepare_cached(BY_KEY)?
        .query_row(params![key, batch.tenant.as_str()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let Some((id, fingerprint, ids)) = found else {
        return Ok(None);
    };
    let id = BatchId(uuid::Uuid::from_bytes(id));
    match fingerprint == batch.fingerprint {
        true => Ok(Some(InsertedBatch::earlier(id, unpack(&ids)?))),
        false => Err(StorageError::BatchConflict(id)),
    }
}

/// Lets the next of a batch in, in place of tasks that ended or are to be tried again, and has the batch's end told
/// if those were the last. Part of the transaction that ended them.
pub(super) fn task_ended(conn: &Connection, place: Place) -> Result<(), StorageError> {
    if let Some(bound) = place.bound {
        let_in(conn, place.batch, bound)?;
    }
    callbacks::batch_is_told(conn, place.batch)
}

/// Gives the free places of a batch to those of its tasks that are due first.
fn let_in(conn: &Connection, batch: [u8; 16], bound: u32) -> Result<(), StorageError> {
    let taken: i64 = conn
        .prepare_cached(TAKEN)?
        .query_row([batch], |row| row.get(0))?;
    let free = i64::from(bound) - taken;
    if free > 0 {
        conn.prepare_cached(LET_IN)?.execute(params![batch, free])?;
    }
    Ok(())
}

/// The place that columns `first` and the next tell of.
pub(super) fn place_of(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<Place>> {
    let batch: Option<[u8; 16]> = row.get(first)?;
    let bound = row.get(first + 1)?;
    Ok(batch.map(|batch| Place { batch, bound }))
}

/// One batch, with its tasks counted: at most as many as a batch can have.
pub(super) fn batch(
    conn: &Connection,
    whose: &Whose,
    id: BatchId,
) -> Result<Option<Batch>, StorageError> {
    // One snapshot, so that the row and the counts belong together.
    let conn = conn.unchecked_transaction()?;
    let found: Option<(Option<u32>, i64, u32)> = conn
        .prepare_cached(
            "SELECT parallelism, created_at, tasks FROM batch
             WHERE id = ?1 AND (?2 IS NULL OR tenant = ?2)",
        )?
        .query_row(params![id.0.as_bytes(), whose.name()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let Some((parallelism, created_at, tasks)) = found else {
        return Ok(None);
    };
    let mut counts = Counts::default();
    let mut statement = conn.prepare_cached(COUNTS)?;
    let mut rows = statement.query([id.0.as_bytes()])?;
    while let Some(row) = rows.next()? {
        *counts.of_mut(state_of(row.get(0)?)?) = row.get::<_, u32>(1)?.into();
    }
    Ok(Some(Batch {
        id,
        parallelism,
        created_at: Timestamp::from_millis(created_at),
        tasks: tasks.into(),
        counts,
    }))
}

/// The tasks of a batch that are not final; first those that wait for a place.
pub(super) fn open_tasks(
    conn: &Connection,
    whose: &Whose,
    id: BatchId,
) -> Result<Vec<TaskId>, StorageError> {
    let ids = conn
        .prepare_cached(OPEN)?
        .query_map(params![id.0.as_bytes(), whose.name()], |row| {
            Ok(TaskId(uuid::Uuid::from_bytes(row.get(0)?)))
        })?
        .collect::<Result<_, _>>()?;
    Ok(ids)
}

/// Removes a batch whose last task was removed.
pub(super) fn remove_if_empty(conn: &Connection, batch: [u8; 16]) -> Result<(), StorageError> {
    conn.prepare_cached(
        "DELETE FROM batch WHERE id = ?1
            AND NOT EXISTS (SELECT 1 FROM task WHERE task.batch = ?1)",
    )?
    .execute([batch])?;
    Ok(())
}

/// Removes batches in which no task was new, once they are as old as final tasks may be.
pub(super) fn remove_without_tasks(
    conn: &Connection,
    created_before: Timestamp,
) -> Result<(), StorageError> {
    conn.prepare_cached("DELETE FROM batch WHERE tasks = 0 AND created_at < ?1")?
        .execute([created_before.as_millis()])?;
    Ok(())
}
