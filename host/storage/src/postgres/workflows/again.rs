//! Trying a final workflow again.

use std::collections::{BTreeMap, HashMap};

use super::change::{Found, locked};
use super::look::places_in;
use crate::fate::ATTEMPT_MAX;
use crate::postgres::call::Call;
use crate::postgres::fault::{Fault, get, get_u8, get_u32};
use crate::postgres::params::params;
use crate::postgres::settle::number;
use crate::postgres::templates;
use crate::postgres::tx::{Mode, Tx};
use crate::rows::{INSTANCES, is_skipped, state_number, state_of};
use crate::workflows::again::{Again, Ended, again};
use crate::{RetriedWorkflow, Retry, StorageError};
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::workflow::WorkflowId;

const NODES: &str = "
    SELECT n.place, n.name, t.state, n.parents, n.instance_of, n.waits, t.seq, s.template, t.attempt,
        t.error_kind, n.at_once
    FROM cofferdam.node n JOIN cofferdam.task t ON t.seq = n.seq
    JOIN cofferdam.task_spec s ON s.seq = n.seq WHERE n.workflow = $1";
const RESET: &str = "
    UPDATE cofferdam.task t SET state = u.state, max_attempts = u.max_attempts, lost = 0, run_at = $4,
        updated_at = $4, finished_at = NULL, error_kind = NULL, progress = 0, progress_note = '',
        change = (SELECT cofferdam.change_number(0)) + u.number
    FROM unnest($1::int8[], $2::int2[], $3::int4[]) WITH ORDINALITY AS u(seq, state, max_attempts, number)
    WHERE t.seq = u.seq";
const RESET_NODES: &str = "
    UPDATE cofferdam.node n SET remaining = u.remaining, parents_completed = false,
        waits = CASE WHEN u.keeps THEN n.waits ELSE 0 END, waits_for = NULL,
        at_once = CASE WHEN u.keeps THEN n.at_once END,
        next_instance = CASE WHEN u.keeps THEN n.first_instance END,
        first_instance = CASE WHEN u.keeps THEN n.first_instance END,
        last_instance = CASE WHEN u.keeps THEN n.last_instance END
    FROM unnest($2::int4[], $3::int4[], $4::bool[]) AS u(place, remaining, keeps)
    WHERE n.workflow = $1 AND n.place = u.place";
/// The signals of nodes that are tried again are theirs no more.
const RESET_SIGNALS: &str = "
    UPDATE cofferdam.workflow_signal SET place = -1 WHERE workflow = $1 AND place = ANY($2::int4[])";
const RUN: &str = "
    UPDATE cofferdam.workflow SET state = 0, run = run + 1, stopping = false, cancelling = false,
        finished_at = NULL, nodes = nodes - $2, open = $3, completed = $4, failed = $5, cancelled = $6,
        skipped = $7, fails = $8, cancels = $9, updated_at = $10, change = change + 1
    WHERE seq = $1";
/// Instances whose node makes new ones stay as tasks.
const FORGET: &str = "
    WITH n AS (
        DELETE FROM cofferdam.node WHERE workflow = $1 AND place = ANY($2::int4[]) RETURNING seq)
    UPDATE cofferdam.task t SET workflow = NULL, place = NULL FROM n WHERE t.seq = n.seq";

/// What else is known of a node.
struct Task {
    seq: i64,
    template: i64,
    attempt: u32,
}

type Nodes = (BTreeMap<u32, Ended>, BTreeMap<u32, Task>);

/// Makes nodes wait again.
pub(in crate::postgres) async fn retry(
    call: &Call,
    id: WorkflowId,
    retry: &Retry,
    now: Timestamp,
) -> Result<RetriedWorkflow, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let answer = try_again(&mut tx, id, retry, now).await?;
    match answer {
        RetriedWorkflow::Running { .. } => tx.commit().await?,
        RetriedWorkflow::Nothing
        | RetriedWorkflow::NotFinal(_)
        | RetriedWorkflow::UnknownNode(_)
        | RetriedWorkflow::Exhausted
        | RetriedWorkflow::Unknown => tx.rollback().await?,
    }
    Ok(answer)
}

async fn try_again(
    tx: &mut Tx,
    id: WorkflowId,
    retry: &Retry,
    now: Timestamp,
) -> Result<RetriedWorkflow, Fault> {
    let Some(workflow) = locked(tx, id).await? else {
        return Ok(RetriedWorkflow::Unknown);
    };
    if !workflow.state.is_final() {
        return Ok(RetriedWorkflow::NotFinal(workflow.state));
    }
    let (ended, tasks) = nodes(tx, workflow.seq).await?;
    let again = match again(&ended, retry) {
        Err(name) => return Ok(RetriedWorkflow::UnknownNode(name)),
        Ok(again) if again.reset.is_empty() => return Ok(RetriedWorkflow::Nothing),
        Ok(again) => again,
    };
    let mut reset = again.reset.keys().filter_map(|place| tasks.get(place));
    if reset.any(|task| task.attempt >= ATTEMPT_MAX) {
        return Ok(RetriedWorkflow::Exhausted);
    }
    if !again.forgotten.is_empty() {
        let places: Result<Vec<i32>, _> = again.forgotten.iter().map(|it| number(*it)).collect();
        tx.later(FORGET, params![workflow.seq, places?]);
    }
    reset_nodes(tx, &workflow, &again, (&ended, &tasks), now).await?;
    run_again(tx, &workflow, &again, &ended, now)?;
    Ok(RetriedWorkflow::Running {
        run: workflow.run + 1,
    })
}

async fn nodes(tx: &mut Tx, workflow: i64) -> Result<Nodes, Fault> {
    let (mut nodes, mut tasks) = (BTreeMap::new(), BTreeMap::new());
    for row in tx.query(NODES, params![workflow]).await? {
        let (place, state) = (get_u32(&row, 0)?, state_of(get_u8(&row, 2)?)?);
        let kind: Option<&str> = get(&row, 9)?;
        let instance_of: Option<i32> = get(&row, 4)?;
        let at_once: Option<i32> = get(&row, 10)?;
        let ended = Ended {
            name: get(&row, 1)?,
            state,
            parents: places_in(&row, 3)?,
            instance_of: instance_of.map(i32::cast_unsigned),
            has_instances: get_u8(&row, 5)? == INSTANCES,
            at_once: at_once.map(i32::cast_unsigned),
            is_skipped: is_skipped(state, kind.and_then(FailureKind::parse)),
        };
        let task = Task {
            seq: get(&row, 6)?,
            template: get(&row, 7)?,
            attempt: get_u32(&row, 8)?,
        };
        nodes.insert(place, ended);
        tasks.insert(place, task);
    }
    Ok((nodes, tasks))
}

async fn reset_nodes(
    tx: &mut Tx,
    workflow: &Found,
    again: &Again,
    (nodes, tasks): (&BTreeMap<u32, Ended>, &BTreeMap<u32, Task>),
    now: Timestamp,
) -> Result<(), Fault> {
    let mut further: HashMap<i64, u32> = HashMap::new();
    let (mut seqs, mut states, mut max_attempts) = (Vec::new(), Vec::new(), Vec::new());
    let (mut places, mut remaining, mut keeps) = (Vec::new(), Vec::new(), Vec::new());
    for (place, waits_for) in &again.reset {
        let (Some(node), Some(task)) = (nodes.get(place), tasks.get(place)) else {
            continue;
        };
        let further = match further.get(&task.template) {
            Some(further) => *further,
            None => {
                let template = templates::by_id(tx, task.template).await?;
                let own = template.retry.max_attempts.max(1);
                further.insert(task.template, own);
                own
            }
        };
        let state = match *waits_for {
            0 => TaskState::Pending,
            _ => TaskState::Blocked,
        };
        seqs.push(task.seq);
        states.push(i16::from(state_number(state)));
        max_attempts.push(number(
            task.attempt.saturating_add(further).min(ATTEMPT_MAX),
        )?);
        places.push(number(*place)?);
        remaining.push(number(*waits_for)?);
        keeps.push(again.waiting_for_instances.contains(place));
        tx.moved(&workflow.tenant, node.state, state);
    }
    let at = now.as_millis();
    tx.later(RESET, params![seqs, states, max_attempts, at]);
    let reset = params![workflow.seq, places.clone(), remaining, keeps];
    tx.later(RESET_NODES, reset);
    tx.later(RESET_SIGNALS, params![workflow.seq, places]);
    Ok(())
}

/// Counts what is left.
fn run_again(
    tx: &mut Tx,
    workflow: &Found,
    again: &Again,
    nodes: &BTreeMap<u32, Ended>,
    now: Timestamp,
) -> Result<(), StorageError> {
    let ends = again.kept(nodes);
    let count = |many: usize| i32::try_from(many).map_err(StorageError::corrupt);
    tx.later(
        RUN,
        params![
            workflow.seq,
            count(again.forgotten.len())?,
            count(again.reset.len())?,
            number(ends.completed)?,
            number(ends.failed)?,
            number(ends.cancelled)?,
            number(ends.skipped)?,
            number(ends.fails)?,
            number(ends.cancels)?,
            now.as_millis(),
        ],
    );
    Ok(())
}
