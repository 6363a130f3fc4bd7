//! Changes by hand: cancel and retry, of several tasks at once.

use std::collections::{HashMap, HashSet};

use tokio_postgres::Row;
use uuid::Uuid;

use super::call::Call;
use super::fault::{Fault, get, get_u8, get_u32};
use super::nodes::id_of;
use super::params::params;
use super::places::{Places, lock_of_waiting, place_of};
use super::release::{self, EndedNodes};
use super::settle::node_at;
use super::templates;
use super::tx::{Mode, Tx};
use crate::fate::{ATTEMPT_MAX, NO_PLACE_YET, NodeAt, Place};
use crate::rows::state_of;
use crate::{Cancelled, Retried, StorageError};
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::TaskId;
use cofferdam_domain::time::Timestamp;

/// Tasks to be changed, locked in one order for all who lock several.
macro_rules! lock_sql {
    ($due_at:literal) => {
        concat!(
            "SELECT s.id, t.seq, t.state, t.worker, t.cancel_requested, t.attempt, s.template,
                t.batch, t.batch_bound, t.tenant, t.workflow, t.place
             FROM cofferdam.task_spec s JOIN cofferdam.task t ON t.seq = s.seq
             WHERE s.id = ANY($1::uuid[]) AND ($2::text IS NULL OR s.tenant = $2) AND t.due_at ",
            $due_at,
            " ORDER BY t.seq FOR UPDATE OF t"
        )
    };
}

const LOCK: &str = lock_sql!("IS NULL");
const LOCK_WAITING: &str = lock_sql!("IS NOT NULL");
pub(super) const CANCEL: &str = "
    UPDATE cofferdam.task t SET state = 5, updated_at = $2, finished_at = $2,
        run_at = coalesce(t.due_at, t.run_at), due_at = NULL,
        change = (SELECT cofferdam.change_number(0)) + u.place
    FROM unnest($1::int8[]) WITH ORDINALITY AS u(seq, place) WHERE t.seq = u.seq";
pub(super) const ASK: &str = "
    UPDATE cofferdam.task t SET cancel_requested = true, updated_at = $2,
        change = (SELECT cofferdam.change_number($3)) + u.place
    FROM unnest($1::int8[]) WITH ORDINALITY AS u(seq, place) WHERE t.seq = u.seq";
const RETRY: &str = "
    UPDATE cofferdam.task t SET state = 1, max_attempts = u.max_attempts, lost = 0,
        run_at = CASE WHEN t.batch_bound IS NULL THEN $3 ELSE $4 END,
        due_at = CASE WHEN t.batch_bound IS NOT NULL THEN $3 END,
        updated_at = $3, finished_at = NULL,
        change = (SELECT cofferdam.change_number(0)) + u.place
    FROM unnest($1::int8[], $2::int4[]) WITH ORDINALITY AS u(seq, max_attempts, place)
    WHERE t.seq = u.seq";

/// A task that is locked.
struct Locked {
    id: TaskId,
    seq: i64,
    state: TaskState,
    worker: Option<Uuid>,
    cancel_requested: bool,
    attempt: u32,
    template: i64,
    place: Option<Place>,
    tenant: String,
    node: Option<NodeAt>,
}

impl Locked {
    fn of(row: &Row) -> Result<Locked, StorageError> {
        Ok(Locked {
            id: TaskId(get(row, 0)?),
            seq: get(row, 1)?,
            state: state_of(get_u8(row, 2)?)?,
            worker: get(row, 3)?,
            cancel_requested: get(row, 4)?,
            attempt: get_u32(row, 5)?,
            template: get(row, 6)?,
            place: place_of(row, 7)?,
            tenant: get(row, 9)?,
            node: node_at(row, 10)?,
        })
    }
}

/// Ends those tasks that wait, and marks those that run. Those without a place in their batch are
/// cancelled in a transaction of their own, because their batch has to be locked before them. Tells which of those
/// that ended are nodes, too.
pub(super) async fn cancel_all(
    call: &Call,
    ids: &[TaskId],
    now: Timestamp,
) -> Result<(Vec<Cancelled>, Vec<Uuid>), Fault> {
    let (mut told, mut nodes) = (HashMap::new(), Vec::new());
    loop {
        let before = told.len();
        for is_waiting in [false, true] {
            let left = ids.iter().filter(|id| !told.contains_key(*id));
            let left: Vec<Uuid> = left.map(|id| id.0).collect();
            if !left.is_empty() {
                let both = (&mut told, &mut nodes);
                cancel_some(call, left, is_waiting, now, both).await?;
            }
        }
        // One that was given a place meanwhile is found by the next round.
        if told.len() == before {
            break;
        }
    }
    let told = ids.iter().map(|id| told.get(id).copied());
    let told = told.map(|told| told.unwrap_or(Cancelled::Unknown));
    Ok((told.collect(), nodes))
}

async fn cancel_some(
    call: &Call,
    ids: Vec<Uuid>,
    is_waiting: bool,
    now: Timestamp,
    (told, ended_nodes): (&mut HashMap<TaskId, Cancelled>, &mut Vec<Uuid>),
) -> Result<(), Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    if is_waiting && !lock_of_waiting(&mut tx, ids.clone()).await? {
        return tx.rollback().await;
    }
    let wanted = params![ids.clone(), tx.tenant()];
    let rows = match is_waiting {
        true => tx.query(LOCK_WAITING, wanted).await?,
        false => {
            let lock = release::lock_of_tasks(ids);
            tx.query_both(lock, (LOCK, wanted)).await?.1
        }
    };
    let (mut ended, mut asked) = (Vec::new(), Vec::new());
    let (mut nodes, mut of_workflows) = (EndedNodes::default(), Vec::new());
    let mut places = Places::default();
    let mut became = Vec::with_capacity(rows.len());
    for row in &rows {
        let task = Locked::of(row)?;
        let answer = match task.state {
            TaskState::Blocked | TaskState::Pending => {
                ended.push(task.seq);
                tx.moved(&task.tenant, task.state, TaskState::Cancelled);
                places.freed(task.place);
                if let Some(node) = task.node {
                    nodes.push_cancelled(node, task.state, now);
                    of_workflows.push(task.id.0);
                }
                Cancelled::AtOnce
            }
            TaskState::Running => {
                if !task.cancel_requested {
                    asked.push(task.seq);
                }
                let worker = task
                    .worker
                    .ok_or_else(|| StorageError::corrupt("nobody runs a running task"))?;
                Cancelled::Requested(WorkerId(worker))
            }
            TaskState::Completed | TaskState::Failed | TaskState::Cancelled => {
                Cancelled::Final(task.state)
            }
        };
        became.push((task.id, answer));
    }
    let first_asked = i64::try_from(ended.len()).unwrap_or(i64::MAX);
    if !nodes.is_empty() {
        // Those that are cancelled are not released first.
        tx.query(CANCEL, params![ended, now.as_millis()]).await?;
        ended_nodes.append(&mut of_workflows);
        nodes.lock(&mut tx, &HashSet::new()).await?;
        nodes.release(&mut tx, None).await?;
    } else if !ended.is_empty() {
        tx.later(CANCEL, params![ended, now.as_millis()]);
    }
    if !asked.is_empty() {
        tx.later(ASK, params![asked, now.as_millis(), first_asked]);
    }
    places.fill(&mut tx);
    tx.commit().await?;
    told.extend(became);
    Ok(())
}

/// Gives failed and cancelled tasks as many further attempts as they had at first.
pub(super) async fn retry_all(
    call: &Call,
    ids: &[TaskId],
    now: Timestamp,
) -> Result<Vec<Retried>, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let wanted: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = tx.query(LOCK, params![wanted, tx.tenant()]).await?;
    let mut told = HashMap::new();
    let (mut seqs, mut max_attempts) = (Vec::new(), Vec::new());
    let mut places = Places::default();
    for row in &rows {
        let task = Locked::of(row)?;
        let answer = match (task.node, task.state) {
            (Some(node), _) => Retried::OfWorkflow(id_of(&mut tx, node.workflow).await?),
            (None, TaskState::Failed | TaskState::Cancelled) if task.attempt >= ATTEMPT_MAX => {
                Retried::Exhausted
            }
            (None, TaskState::Failed | TaskState::Cancelled) => {
                seqs.push(task.seq);
                max_attempts.push(further(&mut tx, &task).await?);
                tx.moved(&task.tenant, task.state, TaskState::Pending);
                places.freed(task.place);
                Retried::Pending
            }
            (
                None,
                TaskState::Blocked | TaskState::Pending | TaskState::Running | TaskState::Completed,
            ) => Retried::NotFailed(task.state),
        };
        told.insert(task.id, answer);
    }
    if !seqs.is_empty() {
        let retried = params![seqs, max_attempts, now.as_millis(), NO_PLACE_YET];
        tx.later(RETRY, retried);
    }
    places.fill(&mut tx);
    if told.len() < ids.len() {
        missing(&mut tx, ids, &mut told).await?;
    }
    tx.commit().await?;
    let told = ids.iter().map(|id| told.get(id).copied());
    Ok(told.map(|told| told.unwrap_or(Retried::Unknown)).collect())
}

/// How many attempts a task may have once it is tried anew.
async fn further(tx: &mut Tx, task: &Locked) -> Result<i32, Fault> {
    let template = templates::by_id(tx, task.template).await?;
    let further = template.retry.max_attempts.max(1);
    let max_attempts = task.attempt.saturating_add(further).min(ATTEMPT_MAX);
    Ok(i32::try_from(max_attempts).map_err(StorageError::corrupt)?)
}

/// Tells of those tasks that wait for a place: they need no retry.
async fn missing(
    tx: &mut Tx,
    ids: &[TaskId],
    told: &mut HashMap<TaskId, Retried>,
) -> Result<(), Fault> {
    const WAITING: &str = "
        SELECT s.id FROM cofferdam.task_spec s JOIN cofferdam.task t ON t.seq = s.seq
        WHERE s.id = ANY($1::uuid[]) AND ($2::text IS NULL OR s.tenant = $2)
            AND t.due_at IS NOT NULL";
    let left = ids.iter().filter(|id| !told.contains_key(*id));
    let left: Vec<Uuid> = left.map(|id| id.0).collect();
    for row in tx.query(WAITING, params![left, tx.tenant()]).await? {
        let answer = Retried::NotFailed(TaskState::Pending);
        told.insert(TaskId(get(&row, 0)?), answer);
    }
    Ok(())
}

/// Shows that the database can be written to.
pub(super) async fn ping(call: &Call) -> Result<(), Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let sql = "
        INSERT INTO cofferdam.ping AS p (shard, n) VALUES ($1, 0)
        ON CONFLICT (shard) DO UPDATE SET n = 1 - p.n";
    tx.later(sql, params![call.db.shards.next()]);
    tx.commit().await
}
