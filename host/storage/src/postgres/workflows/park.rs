//! Parking: a claimed node waits for instances or for a signal.

use uuid::Uuid;

use super::all_are_new;
use crate::postgres::call::Call;
use crate::postgres::fault::{Fault, get, get_u32};
use crate::postgres::insert::{self, NodeRow, Submission};
use crate::postgres::params::{params, text};
use crate::postgres::release;
use crate::postgres::settle::number;
use crate::postgres::tx::{Mode, Tx};
use crate::rows::{
    INSTANCES, NOTHING, SIGNAL, state_number, workflow_bytes, workflow_state_number,
};
use crate::workflows::WORKFLOW_NODES_MAX;
use crate::{Bounds, HeldNode, NewNode, Park, Parking, StorageError};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::workflow::WorkflowState;

const HELD: &str = "
    SELECT t.seq, t.workflow, t.place, t.cancel_requested, w.state, w.nodes,
        (SELECT coalesce(max(n.place) + 1, 0) FROM cofferdam.node n WHERE n.workflow = t.workflow),
        w.stopping
    FROM cofferdam.task_spec s JOIN cofferdam.task t ON t.seq = s.seq
    JOIN cofferdam.workflow w ON w.seq = t.workflow
    WHERE s.id = $1 AND t.fence = $2 AND t.attempt = $3 FOR UPDATE OF t";
const PARK: &str = "
    UPDATE cofferdam.task t SET state = $2, fence = NULL, updated_at = $3, attempt = t.attempt - 1,
        change = cofferdam.change_number($5),
        worker = CASE WHEN t.attempt > 1 THEN t.worker END,
        claimed_at = CASE WHEN t.attempt > 1 THEN t.claimed_at END, run_at = coalesce($4, t.run_at)
    WHERE t.seq = $1";
const NODE: &str = "
    UPDATE cofferdam.node SET remaining = $3, waits = $4, waits_for = $5, at_once = $6,
        first_instance = $7, next_instance = $8, last_instance = $9
    WHERE workflow = $1 AND place = $2";
const GROW: &str = "
    UPDATE cofferdam.workflow SET nodes = nodes + $2, open = open + $2, kept_bytes = kept_bytes + $3,
        change = change + 1, updated_at = $4
    WHERE seq = $1";
const TAKE_SIGNAL: &str = "
    UPDATE cofferdam.workflow_signal SET place = $3 WHERE workflow = $1 AND number = (
        SELECT min(g.number) FROM cofferdam.workflow_signal g
        WHERE g.workflow = $1 AND g.name = $2 AND g.place IS NULL)
    RETURNING 1";

/// The change of what is parked is numbered behind those of the tasks that come with it.
const PARKED: i64 = (1 << 17) + (1 << 16);

/// What a node is parked for, ready to be stored.
pub(in crate::postgres) enum Parked {
    /// Instances, how many of them at once, and bytes that are kept of them besides their tasks.
    Instances(Submission, Vec<NodeRow>, Option<u32>, i64),
    Signal(String, Option<Timestamp>),
    Paused,
}

impl Parked {
    pub(in crate::postgres) fn new(
        park: Park,
        bounds: Bounds,
        now: Timestamp,
    ) -> Result<Parked, StorageError> {
        Ok(match park {
            Park::Paused => Parked::Paused,
            Park::Signal { name, until } => Parked::Signal(name, until),
            Park::Instances { nodes, at_once } => {
                let bytes = workflow_bytes("", &nodes)?;
                let (rows, tasks) = nodes.into_iter().map(instance).unzip();
                let submission = Submission { tasks, bounds, now };
                Parked::Instances(submission, rows, at_once, bytes)
            }
        })
    }
}

/// A node that has no parents; its workflow and its place are not known yet.
fn instance(node: NewNode) -> (NodeRow, cofferdam_domain::task::NewTask) {
    let row = NodeRow {
        workflow: Uuid::nil(),
        is_paused: false,
        place: 0,
        name: node.name,
        remaining: 0,
        parents: Vec::new(),
        kids: Vec::new(),
        instance_of: None,
        plan: node.plan,
    };
    (row, node.task)
}

/// A node that is being parked.
struct Held {
    seq: i64,
    workflow: i64,
    place: i32,
    is_paused: bool,
    is_stopping: bool,
    nodes: u32,
    /// The first place that no node has had.
    next_place: u32,
    tenant: String,
    now: Timestamp,
}

/// What its row says afterwards.
#[derive(Default)]
struct Waiting {
    remaining: i32,
    waits: u8,
    signal: Option<String>,
    at_once: Option<i32>,
    /// The first and the last instance, and the first that has to wait for its turn.
    instances: Option<(i32, i32, i32)>,
    run_at: Option<i64>,
}

/// Parks a node.
pub(in crate::postgres) async fn park(
    call: &Call,
    held: &HeldNode,
    parked: &Parked,
    now: Timestamp,
) -> Result<Parking, Fault> {
    let mode = match parked {
        Parked::Instances(..) => Mode::Referring,
        Parked::Signal(..) | Parked::Paused => Mode::Durable,
    };
    let mut tx = call.begin(mode).await?;
    let node = match locked(&mut tx, held, now).await? {
        Ok(node) => node,
        Err(answer) => {
            tx.rollback().await?;
            return Ok(answer);
        }
    };
    let done = match parked {
        Parked::Paused => Ok((node.write(&mut tx, Waiting::default()), None)),
        Parked::Signal(name, until) => {
            let answer = node.for_signal(&mut tx, name, *until).await?;
            Ok((answer, None))
        }
        Parked::Instances(submission, rows, at_once, bytes) => {
            let how = (*at_once, *bytes);
            node.for_instances(&mut tx, held, (submission, rows), how)
                .await?
        }
    };
    match done {
        Ok((answer @ Parking::Parked(_), plan)) => {
            tx.commit().await?;
            if let Some(plan) = plan {
                insert::learn(call, plan);
            }
            Ok(answer)
        }
        Ok((answer, _)) => {
            tx.rollback().await?;
            Ok(answer)
        }
        Err(refusal) => {
            tx.rollback().await?;
            Err(refusal.into())
        }
    }
}

type Done = Result<(Parking, Option<insert::Plan>), StorageError>;

/// The node, and nothing happens to its workflow meanwhile.
async fn locked(
    tx: &mut Tx,
    held: &HeldNode,
    now: Timestamp,
) -> Result<Result<Held, Parking>, Fault> {
    let attempt = i32::try_from(held.attempt).unwrap_or(-1);
    let key = params![held.task_id.0, held.fence.0.cast_signed(), attempt];
    let lock = release::lock([held.workflow.0]);
    let (_, rows) = tx.query_both(lock, (HELD, key)).await?;
    let Some(row) = rows.first() else {
        return Ok(Err(Parking::Stale));
    };
    if get::<bool>(row, 3)? {
        return Ok(Err(Parking::CancelRequested));
    }
    let paused = i16::from(workflow_state_number(WorkflowState::Paused));
    Ok(Ok(Held {
        seq: get(row, 0)?,
        workflow: get(row, 1)?,
        place: get(row, 2)?,
        is_paused: get::<i16>(row, 4)? == paused,
        nodes: get_u32(row, 5)?,
        next_place: get_u32(row, 6)?,
        is_stopping: get(row, 7)?,
        tenant: held.tenant.as_str().to_owned(),
        now,
    }))
}

impl Held {
    /// Sends what becomes of it with the commit.
    fn write(&self, tx: &mut Tx, waiting: Waiting) -> Parking {
        let state = match waiting.remaining > 0 || self.is_paused {
            true => TaskState::Blocked,
            false => TaskState::Pending,
        };
        let number = i16::from(state_number(state));
        let at = self.now.as_millis();
        tx.later(PARK, params![self.seq, number, at, waiting.run_at, PARKED]);
        if waiting.waits != NOTHING {
            let (first, last, next) = match waiting.instances {
                Some((first, last, next)) => (Some(first), Some(last), Some(next)),
                None => (None, None, None),
            };
            tx.later(
                NODE,
                params![
                    self.workflow,
                    self.place,
                    waiting.remaining,
                    i16::from(waiting.waits),
                    waiting.signal,
                    waiting.at_once,
                    first,
                    next,
                    last,
                ],
            );
        }
        tx.moved(&self.tenant, TaskState::Running, state);
        Parking::Parked(state)
    }

    async fn for_signal(
        &self,
        tx: &mut Tx,
        name: &str,
        until: Option<Timestamp>,
    ) -> Result<Parking, Fault> {
        let wanted = params![self.workflow, text(name), self.place];
        let given = tx.query_opt(TAKE_SIGNAL, wanted).await?.is_some();
        let run_at = match (given || self.is_stopping, until) {
            (true, _) => self.now.as_millis(),
            (false, Some(until)) => until.as_millis(),
            (false, None) => i64::MAX,
        };
        let waiting = Waiting {
            waits: SIGNAL,
            signal: Some(text(name)),
            run_at: Some(run_at),
            ..Waiting::default()
        };
        Ok(self.write(tx, waiting))
    }

    async fn for_instances(
        &self,
        tx: &mut Tx,
        held: &HeldNode,
        (submission, rows): (&Submission, &[NodeRow]),
        (at_once, bytes): (Option<u32>, i64),
    ) -> Result<Done, Fault> {
        let room = WORKFLOW_NODES_MAX.saturating_sub(self.nodes as usize);
        if rows.len() > room {
            return Ok(Ok((Parking::TooManyNodes, None)));
        }
        let submissions = std::slice::from_ref(submission);
        let mut plan = insert::plan(tx, submissions, None).await?;
        if let Err(refusal) = all_are_new(&plan, submission) {
            return Ok(Err(refusal));
        }
        let count = u32::try_from(rows.len()).map_err(StorageError::corrupt)?;
        let let_in = at_once.unwrap_or(count).max(1).min(count);
        let nodes = rows.iter().zip(0..).map(|(row, turn)| NodeRow {
            workflow: held.workflow.0,
            is_paused: self.is_paused,
            place: self.next_place + turn,
            remaining: u32::from(turn >= let_in),
            instance_of: Some(self.place.cast_unsigned()),
            ..row.clone()
        });
        let nodes: Vec<NodeRow> = nodes.collect();
        let each: Vec<&NodeRow> = nodes.iter().collect();
        let grown = params![self.workflow, number(count)?, bytes, self.now.as_millis()];
        tx.later(GROW, grown);
        tx.kept(&self.tenant, bytes);
        insert::write_nodes(tx, &mut plan, &each)?;
        let (first, last) = (self.next_place, (self.next_place + count).saturating_sub(1));
        let instances = (number(first)?, number(last)?, number(first + let_in)?);
        let waiting = Waiting {
            remaining: number(count)?,
            waits: INSTANCES,
            at_once: at_once.map(number).transpose()?,
            instances: (count > 0).then_some(instances),
            ..Waiting::default()
        };
        Ok(Ok((self.write(tx, waiting), Some(plan))))
    }
}
