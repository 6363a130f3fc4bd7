//! Inserting tasks: idempotency, deduplication and the queue's bound.

use rusqlite::{OptionalExtension, params};
use uuid::Uuid;

use super::db::Db;
use super::quotas::Quotas;
use crate::fate::NO_PLACE_YET;
use crate::rows::{InputColumns, NO_METADATA, list, state_number, submitted_bytes};
use crate::turns::lane_of;
use crate::{Bounds, Inserted, StorageError};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::secret::SecretName;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{Dedup, Input, NewTask, TaskId};
use cofferdam_domain::time::Timestamp;

const INSERT_TASK: &str = "
    INSERT INTO task (id, template, state, priority, run_at, attempt, max_attempts, lost,
        created_at, updated_at, cancel_requested, progress, progress_note, name, change, batch,
        batch_bound, due_at, tenant, lane, kept_bytes, callback, workflow, place)
    VALUES (?1, ?2, ?16, ?3, ?4, 0, ?5, 0, ?6, ?6, 0, 0, '', ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15,
        ?17, ?18)
    ON CONFLICT (id) DO NOTHING";

const INSERT_SPEC: &str = "
    INSERT INTO task_spec (seq, fingerprint, content_type, blob, blob_bytes, args, env, metadata,
        idempotency_key, body, tenant)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";

const INSERT_CALLBACK: &str = "
    INSERT INTO callback (seq, tenant, url, place, secret) VALUES (?1, ?2, ?3, ?4, ?5)";

/// The batch of tasks that are inserted, and how many of them may be under way.
#[derive(Clone, Copy)]
pub(super) struct InBatch {
    pub(super) id: [u8; 16],
    pub(super) bound: Option<u32>,
}

/// What a task that is inserted belongs to.
#[derive(Clone, Copy, Default)]
pub(super) struct Member {
    pub(super) batch: Option<InBatch>,
    pub(super) node: Option<InWorkflow>,
}

/// The node that a task is, and whether it waits for others.
#[derive(Clone, Copy)]
pub(super) struct InWorkflow {
    pub(super) workflow: i64,
    pub(super) place: u32,
    pub(super) is_blocked: bool,
}

/// Inserts all of `tasks`, or none if one of them conflicts or they would go beyond `bounds`.
pub(super) fn insert_tasks(
    db: &mut Db,
    tasks: &[NewTask],
    bounds: Bounds,
    now: Timestamp,
) -> Result<Vec<Inserted>, StorageError> {
    if let [task] = tasks
        && db.tallies.waiting() < bounds.pending_max
        && bounds.tenant.is_none()
    {
        // For one task with room for it, every refusal happens before anything is written.
        return Ok(vec![insert(db, task, Member::default(), now)?]);
    }
    all_or_none(db, |db| insert_within(db, tasks, None, bounds, now))
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
    bounds: Bounds,
    now: Timestamp,
) -> Result<Vec<Inserted>, StorageError> {
    let tenant = tasks.first().map(|task| &task.tenant);
    within_bounds(db, tenant, bounds, |db| {
        let member = Member { batch, node: None };
        let each = tasks.iter().map(|task| insert(db, task, member, now));
        let inserted: Vec<Inserted> = each.collect::<Result<_, _>>()?;
        let is_new = inserted.contains(&Inserted::New);
        Ok((inserted, is_new))
    })
}

/// Runs `work`, which inserts tasks of a tenant and tells whether any of them is new. If this refuses, its caller
/// undoes what was done.
pub(super) fn within_bounds<T>(
    db: &mut Db,
    tenant: Option<&Tenant>,
    bounds: Bounds,
    work: impl FnOnce(&mut Db) -> Result<(T, bool), StorageError>,
) -> Result<T, StorageError> {
    let pending = db.tallies.waiting();
    let quotas = Quotas::before(db, tenant, bounds.tenant)?;
    let (done, is_new) = work(db)?;
    // A repetition of an earlier request is answered even if the queue is full.
    if !is_new {
        return Ok(done);
    }
    if db.tallies.waiting() > bounds.pending_max {
        return Err(StorageError::QueueFull {
            pending,
            limit: bounds.pending_max,
        });
    }
    if let Some(quotas) = quotas {
        quotas.check(db)?;
    }
    Ok(done)
}

/// Inserts one task. Its number is that of the row that the connection inserted last.
pub(super) fn insert(
    db: &mut Db,
    task: &NewTask,
    member: Member,
    now: Timestamp,
) -> Result<Inserted, StorageError> {
    if let Some(key) = &task.idempotency_key
        && let Some(earlier) = earlier_by_key(db, key, task)?
    {
        return Ok(earlier);
    }
    if let Some(dedup) = &task.dedup
        && let Some(holder) = holder(db, &task.tenant, dedup, now)?
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
    let template = db.templates.of_spec(&db.conn, &task.tenant, spec)?;
    let (args, env) = (list(&spec.args)?, list(&spec.env)?);
    let kept_bytes = submitted_bytes(task, [args.as_ref(), env.as_ref()]);
    let kept_bytes = i64::try_from(kept_bytes).map_err(StorageError::corrupt)?;
    // In a batch that bounds its tasks each one waits for a place at first.
    let Member { batch, node } = member;
    let bound = batch.and_then(|batch| batch.bound);
    let due_at = bound.map(|_| task.run_at.as_millis());
    let run_at = due_at.map_or(task.run_at.as_millis(), |_| NO_PLACE_YET);
    let state = match node {
        Some(node) if node.is_blocked => TaskState::Blocked,
        Some(_) | None => TaskState::Pending,
    };
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
        kept_bytes,
        task.callback.as_ref().map(|callback| callback.on.bits()),
        state_number(state),
        node.map(|node| node.workflow),
        node.map(|node| node.place),
    ])?;
    if inserted == 0 {
        return earlier_by_id(db, task)?
            .ok_or_else(|| StorageError::corrupt("an id is taken, but not by a task"));
    }
    insert_spec(db, task, (args, env))?;
    insert_callback(db, task)?;
    if let Some(dedup) = &task.dedup {
        db.conn
            .prepare_cached(
                "REPLACE INTO dedup (tenant, key, task_id, expires_at) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                task.tenant.as_str(),
                dedup.key,
                task.id.0.as_bytes(),
                now.plus(dedup.window).as_millis()
            ])?;
    }
    db.tallies.add(task.tenant.as_str(), state, template.id);
    db.tallies.kept(task.tenant.as_str(), kept_bytes);
    Ok(Inserted::New)
}

fn inline_bytes(input: &Input) -> usize {
    match input {
        Input::Inline(payload) => payload.body.len(),
        Input::Spooled { .. } => 0,
    }
}

fn insert_spec(
    db: &Db,
    task: &NewTask,
    (args, env): (Option<String>, Option<String>),
) -> Result<(), StorageError> {
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
        args,
        env,
        metadata,
        task.idempotency_key,
        input.body.map(|body| &body[..]),
        task.tenant.as_str(),
    ])?;
    Ok(())
}

fn insert_callback(db: &Db, task: &NewTask) -> Result<(), StorageError> {
    let Some(callback) = &task.callback else {
        return Ok(());
    };
    let seq = db.conn.last_insert_rowid();
    db.conn.prepare_cached(INSERT_CALLBACK)?.execute(params![
        seq,
        task.tenant.as_str(),
        callback.url.as_str(),
        callback.url.place(),
        callback.secret.as_ref().map(SecretName::as_str),
    ])?;
    Ok(())
}

/// The task of the same tenant that already has `key`.
fn earlier_by_key(db: &Db, key: &str, task: &NewTask) -> Result<Option<Inserted>, StorageError> {
    db.conn
        .prepare_cached(
            "SELECT t.id, s.fingerprint FROM task_spec s JOIN task t ON t.seq = s.seq
             WHERE s.idempotency_key = ?1 AND s.tenant = ?2",
        )?
        .query_row([key, task.tenant.as_str()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?
        .map(|found| compared(found, task))
        .transpose()
}

/// The task that already has the same id. That of another tenant is never the same request: whoever
/// names it learns only that the id cannot be theirs.
fn earlier_by_id(db: &Db, task: &NewTask) -> Result<Option<Inserted>, StorageError> {
    let found: Option<([u8; 16], [u8; 16], String)> = db
        .conn
        .prepare_cached(
            "SELECT t.id, s.fingerprint, t.tenant FROM task t JOIN task_spec s ON s.seq = t.seq
             WHERE t.id = ?1",
        )?
        .query_row([task.id.0.as_bytes()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    match found {
        None => Ok(None),
        Some((_, _, tenant)) if tenant != task.tenant.as_str() => {
            Err(StorageError::Conflict(task.id))
        }
        Some((id, fingerprint, _)) => compared((id, fingerprint), task).map(Some),
    }
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

/// The task that holds the tenant's dedup key now.
fn holder(
    db: &Db,
    tenant: &Tenant,
    dedup: &Dedup,
    now: Timestamp,
) -> Result<Option<TaskId>, StorageError> {
    db.conn
        .prepare_cached(
            "SELECT t.id FROM dedup d JOIN task t ON t.id = d.task_id
             WHERE d.tenant = ?1 AND d.key = ?2 AND d.expires_at > ?3 AND t.tenant = ?1",
        )?
        .query_row(
            params![tenant.as_str(), dedup.key, now.as_millis()],
            |row| row.get(0),
        )
        .optional()
        .map(|id| id.map(|id: [u8; 16]| TaskId(Uuid::from_bytes(id))))
        .map_err(StorageError::from)
}
