//! Batches: storing one with its tasks, looking at one, and removing what is left of one.

use tokio_postgres::Row;
use uuid::Uuid;

use super::call::Call;
use super::callbacks;
use super::fault::{Fault, Kind, get, get_u8, get_u32};
use super::insert::{self, InBatch, Submission};
use super::params::{Raw, params};
use super::places::Places;
use super::tx::{Mode, Tx};
use crate::fate::Place;
use crate::rows::{pack, state_of, unpack};
use crate::{Batch, Counts, InsertedBatch, StorageError};
use cofferdam_domain::batch::{BatchId, NewBatch};
use cofferdam_domain::task::TaskId;
use cofferdam_domain::time::Timestamp;

const INSERT: &str = "
    INSERT INTO cofferdam.batch (id, parallelism, created_at, tasks, fingerprint, idempotency_key,
        task_ids, tenant)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const EARLIER: &str = "
    SELECT id, fingerprint, task_ids, tasks FROM cofferdam.batch WHERE id = $1
    UNION ALL
    SELECT id, fingerprint, task_ids, tasks FROM cofferdam.batch
    WHERE idempotency_key = $2 AND tenant = $3 AND id <> $1";
const ONE: &str = "
    SELECT parallelism, created_at, tasks FROM cofferdam.batch
    WHERE id = $1 AND ($2::text IS NULL OR tenant = $2)";
const COUNTS: &str = "
    SELECT state, count(*) FROM cofferdam.task WHERE batch = $1 GROUP BY state";
const OPEN: &str = "
    SELECT s.id FROM cofferdam.task t JOIN cofferdam.task_spec s ON s.seq = t.seq
    WHERE t.batch = $1 AND t.state < 3 AND ($2::text IS NULL OR t.tenant = $2)
    ORDER BY t.due_at IS NULL, t.state, t.seq";
pub(super) const REMOVE_EMPTY: &str = "
    DELETE FROM cofferdam.batch b WHERE b.id = ANY($1::uuid[])
        AND NOT EXISTS (SELECT 1 FROM cofferdam.task t WHERE t.batch = b.id)";
/// Those in which no task was new, once they are as old as final tasks may be.
pub(super) const REMOVE_WITHOUT_TASKS: &str =
    "DELETE FROM cofferdam.batch WHERE tasks = 0 AND created_at < $1";

/// Stores a batch and its tasks, all or none; or finds the one that was stored with its key.
pub(super) async fn insert_batch(
    call: &Call,
    batch: &NewBatch,
    submission: &Submission,
) -> Result<InsertedBatch, Fault> {
    match once(call, batch, submission).await {
        // Whoever finds its own batch has stored it in the try that was not answered.
        Err(fault) if matches!(fault.error, StorageError::Unknown(_)) => {
            once(call, batch, submission).await
        }
        done => done,
    }
}

async fn once(
    call: &Call,
    batch: &NewBatch,
    submission: &Submission,
) -> Result<InsertedBatch, Fault> {
    let mut tx = call.begin(Mode::Referring).await?;
    if let Some(earlier) = earlier(&mut tx, batch).await? {
        tx.rollback().await?;
        return Ok(earlier?);
    }
    let bound = batch.bound(submission.tasks.len());
    let in_batch = InBatch {
        id: batch.id.0,
        bound: bound
            .map(i32::try_from)
            .transpose()
            .map_err(StorageError::corrupt)?,
    };
    let submissions = std::slice::from_ref(submission);
    let mut plan = insert::plan(&mut tx, submissions, Some(in_batch)).await?;
    let inserted = match plan.answers.pop() {
        Some(Ok(inserted)) => inserted,
        Some(Err(refusal)) => return refused(tx, refusal).await,
        None => return Err(StorageError::corrupt("a submission has no answer").into()),
    };
    let inserted = InsertedBatch::new(batch.id, &submission.tasks, &inserted);
    let row = params![
        batch.id.0,
        batch
            .parallelism
            .map(i32::try_from)
            .transpose()
            .map_err(StorageError::corrupt)?,
        submission.now.as_millis(),
        i32::try_from(inserted.new_tasks).map_err(StorageError::corrupt)?,
        Raw::copy(&batch.fingerprint),
        batch
            .idempotency_key
            .as_ref()
            .map(|key| Raw::copy(key.as_bytes())),
        Raw(pack(&inserted.tasks).into()),
        batch.tenant.as_str().to_owned(),
    ];
    tx.later(INSERT, row);
    if let Some(callback) = &batch.callback {
        callbacks::insert_of_batch(&mut tx, batch, callback);
    }
    insert::write(&mut tx, &mut plan).await?;
    let mut places = Places::default();
    // One in which no task is new has ended.
    places.freed(Some(Place {
        batch: *batch.id.0.as_bytes(),
        bound,
    }));
    places.fill(&mut tx);
    match tx.commit().await {
        // Somebody else was faster.
        Err(fault) if fault.kind == Kind::Taken => {
            call.db.templates().clear();
            return Err(Fault::again("what was free a moment ago is taken"));
        }
        done => done?,
    }
    insert::learn(call, plan);
    Ok(inserted)
}

async fn refused(tx: Tx, refusal: StorageError) -> Result<InsertedBatch, Fault> {
    tx.rollback().await?;
    Err(refusal.into())
}

/// The earlier batch, or why it does not take the place of this one.
async fn earlier(
    tx: &mut Tx,
    batch: &NewBatch,
) -> Result<Option<Result<InsertedBatch, StorageError>>, Fault> {
    let key = batch.idempotency_key.as_ref();
    let key = key.map(|key| Raw::copy(key.as_bytes()));
    let wanted = params![batch.id.0, key, batch.tenant.as_str().to_owned()];
    let found = tx.query(EARLIER, wanted).await?;
    let Some(row) = found.first() else {
        return Ok(None);
    };
    let id = BatchId(get(row, 0)?);
    if get::<&[u8]>(row, 1)? != batch.fingerprint {
        return Ok(Some(Err(StorageError::BatchConflict(id))));
    }
    let tasks = unpack(get(row, 2)?)?;
    Ok(Some(Ok(match id == batch.id {
        true => InsertedBatch {
            id,
            tasks,
            new_tasks: get_u32(row, 3)?,
            is_new: true,
        },
        false => InsertedBatch::earlier(id, tasks),
    })))
}

/// One batch, with its tasks counted: at most as many as a batch can have.
pub(super) async fn batch(tx: &mut Tx, id: BatchId) -> Result<Option<Batch>, Fault> {
    let Some(row) = tx.query_opt(ONE, params![id.0, tx.tenant()]).await? else {
        return Ok(None);
    };
    let mut counts = Counts::default();
    for row in tx.query(COUNTS, params![id.0]).await? {
        let state = state_of(get_u8(&row, 0)?)?;
        *counts.of_mut(state) = get::<i64>(&row, 1)?.cast_unsigned();
    }
    let parallelism: Option<i32> = get(&row, 0)?;
    Ok(Some(Batch {
        id,
        parallelism: parallelism.map(i32::cast_unsigned),
        created_at: Timestamp::from_millis(get(&row, 1)?),
        tasks: get_u32(&row, 2)?.into(),
        counts,
    }))
}

/// The tasks of a batch that are not final; first those that wait for a place.
pub(super) async fn open_tasks(tx: &mut Tx, id: BatchId) -> Result<Vec<TaskId>, Fault> {
    let rows = tx.query(OPEN, params![id.0, tx.tenant()]).await?;
    let of_row = |row: &Row| Ok(TaskId(get::<Uuid>(row, 0)?));
    let ids: Result<_, StorageError> = rows.iter().map(of_row).collect();
    Ok(ids?)
}
