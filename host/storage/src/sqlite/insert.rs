//! Inserting tasks: idempotency, deduplication and the queue's bound.

use rusqlite::{OptionalExtension, params};
use uuid::Uuid;

use super::db::Db;
use crate::fate::NO_PLACE_YET;
use crate::rows::{InputColumns, NO_METADATA, list};
use crate::turns::lane_of;
use crate::{Inserted, StorageError};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{Dedup, Input, NewTask, TaskId};
use cofferdam_domain::time::Timestamp;

const INSERT_TASK: &str = "
    INSERT INTO task (id, template, state, priority, run_at, attempt, max_attempts, lost,
        created_at, updated_at, cancel_requested, progress, progress_note, name, change, batch,
        batch_bound, due_at, tenant, lane)
    VALUES (?1, ?2, 1, ?3, ?4, 0, ?5, 0, ?6, ?6, 0, 0, '', ?7, ?8, ?9, ?10, ?11, ?12, ?13)
    ON CONFLICT (id) DO NOTHING";

const INSERT_SPEC: &str = "
    INSERT INTO task_spec (seq, fingerprint, content_type, blob, blob_bytes, args, env, metadata,
        idempotency_key, body)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

/// The batch of tasks that are inserted, and how many of them may be under way.
#[derive(Clone, Copy)]
pub(super) struct InBatch {
    pub(super) id: [u8; 16],
    pub(super) bound: Option<u32>,
}

/// Inserts all of `tasks`, or none if one of them conflicts or more than `pending_max` would wait.
pub(super) fn insert_tasks(
    db: &mut Db,
    tasks: &[NewTask],
    pending_max: u64,
    now: Timestamp,
) -> Result<Vec<Inserted>, StorageError> {
    if let [task] = tasks
        && db.tallies.waiting() < pending_max
    {
        // For one task with room for it, every refusal happens before anything is written.
        return Ok(vec![insert(db, task, None, now)?]);
    }
    all_or_none(db, |db| insert_within(db, tasks, None, pending_max, now))
}

/// Has `work` done; nothing of it is left if it is refused.
pub(super) fn all_or_none<T>(
    db: &mut Db,
    work: impl FnOnce(&mut Db) -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    let tallies = db.tallies.clone();
    db.conn.execute_batch("SAVEPOINT insert_tasks")?;
    match work(db) {
        Err(refusal) if refusal.is_refusal() => {
            db.conn
                .execute_batch("ROLLBACK TO insert_tasks; RELEASE insert_tasks")?;
            db.tallies = tallies;
            db.templates.clear();
            Err(refusal)
        }
        Err(failure) => Err(failure),
        Ok(done) => {
            db.conn.execute_batch("RELEASE insert_tasks")?;
            Ok(done)
        }
    }
}

/// Inserts `tasks`, which are of `batch` if there is one. Part of what is undone if it is refused.
pub(super) fn insert_within(
    db: &mut Db,
    tasks: &[NewTask],
    batch: Option<InBatch>,
    pending_max: u64,
    now: Timestamp,
) -> Result<Vec<Inserted>, StorageError> {
    let pending = db.tallies.waiting();
    let each = tasks.iter().map(|task| insert(db, task, batch, now));
    let inserted: Vec<Inserted> = each.collect::<Result<_, _>>()?;
    // A repetition of an earlier request is answered even if the queue is full.
    if inserted.contains(&Inserted::New) && db.tallies.waiting() > pending_max {
        return Err(StorageError::QueueFull {
            pending,
            limit: pending_max,
        });
    }
    Ok(inserted)
}

fn insert(
    db: &mut Db,
    task: &NewTask,
    batch: Option<InBatch>,
    now: Timestamp,
) -> Result<Inserted, StorageError> {
    if let Some(key) = &task.idempotency_key
        && let Some(earlier) = earlier_by_key(db, key, task)?
    {
        return Ok(earlier);
    }
    if let Some(dedup) = &task.dedup
        && let Some(holder) = holder(db, dedup, now)?
    {
        // The same request again is a repetition, not a duplicate.
        return match earlier_by_id(db, task)? {
            Some(earlier) => Ok(earlier),
            None => Ok(Inserted::Deduplicated(holder)),
        };
    }
    let spec = &task.spec;
    if let Err(refusal) = db.budget.check(&db.conn, inline_bytes(&spec.input)) {
        // A repetition of an earlier request is still answered.
        return earlier_by_id(db, task)?.ok_or(refusal);
    }
    let template = db.templates.of_spec(&db.conn, spec)?;
    // In a batch that bounds its tasks each one waits for a place at first.
    let bound = batch.and_then(|batch| batch.bound);
    let due_at = bound.map(|_| task.run_at.as_millis());
    let run_at = due_at.map_or(task.run_at.as_millis(), |_| NO_PLACE_YET);
    let inserted = db.conn.prepare_cached(INSERT_TASK)?.execute(params![
        task.id.0.as_bytes(),
        template.id,
        spec.priority.rank(),
        run_at,
        spec.retry.max_attempts.max(1),
        now.as_millis(),
        template.name,
        db.tallies.next_change(),
        batch.map(|batch| batch.id),
        bound,
        due_at,
        task.tenant.as_str(),
        lane_of(&db.rules, template.name, template.class),
    ])?;
    if inserted == 0 {
        return earlier_by_id(db, task)?
            .ok_or_else(|| StorageError::corrupt("an id is taken, but not by a task"));
    }
    insert_spec(db, task)?;
    if let Some(dedup) = &task.dedup {
        db.conn
            .prepare_cached("REPLACE INTO dedup (key, task_id, expires_at) VALUES (?1, ?2, ?3)")?
            .execute(params![
                dedup.key,
                task.id.0.as_bytes(),
                now.plus(dedup.window).as_millis()
            ])?;
    }
    db.tallies.add(TaskState::Pending, template.id);
    Ok(Inserted::New)
}

fn inline_bytes(input: &Input) -> usize {
    match input {
        Input::Inline(payload) => payload.body.len(),
        Input::Spooled { .. } => 0,
    }
}

fn insert_spec(db: &Db, task: &NewTask) -> Result<(), StorageError> {
    let spec = &task.spec;
    let seq = db.conn.last_insert_rowid();
    let input = InputColumns::of(&spec.input)?;
    let metadata = (spec.metadata != NO_METADATA).then_some(&spec.metadata);
    db.conn.prepare_cached(INSERT_SPEC)?.execute(params![
        seq,
        task.fingerprint,
        input.content_type,
        input.blob.as_ref().map(Uuid::as_bytes),
        input.blob_bytes,
        list(&spec.args)?,
        list(&spec.env)?,
        metadata,
        task.idempotency_key,
        input.body.map(|body| &body[..]),
    ])?;
    Ok(())
}

/// The task that already has `key`.
fn earlier_by_key(db: &Db, key: &str, task: &NewTask) -> Result<Option<Inserted>, StorageError> {
    db.conn
        .prepare_cached(
            "SELECT t.id, s.fingerprint FROM task_spec s JOIN task t ON t.seq = s.seq
             WHERE s.idempotency_key = ?1",
        )?
        .query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .map(|found| compared(found, task))
        .transpose()
}

/// The task that already has the same id.
fn earlier_by_id(db: &Db, task: &NewTask) -> Result<Option<Inserted>, StorageError> {
    db.conn
        .prepare_cached(
            "SELECT t.id, s.fingerprint FROM task t JOIN task_spec s ON s.seq = t.seq
             WHERE t.id = ?1",
        )?
        .query_row([task.id.0.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .map(|found| compared(found, task))
        .transpose()
}

fn compared(
    (id, fingerprint): ([u8; 16], [u8; 16]),
    task: &NewTask,
) -> Result<Inserted, StorageError> {
    let earlier = TaskId(Uuid::from_bytes(id));
    if fingerprint == task.fingerprint {
        Ok(Inserted::Repeated(earlier))
    } else {
        Err(StorageError::Conflict(earlier))
    }
}

/// The task that holds the dedup key now.
fn holder(db: &Db, dedup: &Dedup, now: Timestamp) -> Result<Option<TaskId>, StorageError> {
    db.conn
        .prepare_cached(
            "SELECT t.id FROM dedup d JOIN task t ON t.id = d.task_id
             WHERE d.key = ?1 AND d.expires_at > ?2",
        )?
        .query_row(params![dedup.key, now.as_millis()], |row| row.get(0))
        .optional()
        .map(|id| id.map(|id: [u8; 16]| TaskId(Uuid::from_bytes(id))))
        .map_err(StorageError::from)
}
