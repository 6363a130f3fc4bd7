//! Workflows: storing one with its nodes. What follows is in the parts: nodes that wait for more than their parents
//! (`park`, `signals`), changes by hand (`change`, `again`), queries (`look`, `before`) and what must never be
//! needed (`repair`).
//!
//! Whoever changes a workflow holds the lock on its row, as whoever ends a node of it does.

mod again;
mod before;
mod change;
mod look;
mod park;
mod repair;
mod signals;

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::call::Call;
use super::callbacks;
use super::fault::{Fault, Kind, get};
use super::insert::{self, NodeRow, Submission};
use super::params::{Params, Raw, params, text};
use super::submitter::{Submitted, Told};
use super::tx::{Mode, Tx};
use crate::rows::{
    final_state, kids, on_failure_number, tenant_of, workflow_bytes, workflow_state_number,
};
use crate::{Bounds, Inserted, InsertedWorkflow, NewNode, NewWorkflow, StorageError};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::task::NewTask;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::workflow::{WorkflowId, WorkflowState};

pub(super) use self::again::retry;
pub(super) use self::before::ends_before;
pub(super) use self::change::{cancel, cancel_instances, pause};
pub(super) use self::look::{definition, list, state, workflow};
pub(super) use self::park::{Parked, park};
pub(super) use self::repair::repair;
pub(super) use self::signals::signal;

/// Many of them.
const INSERT: &str = "
    WITH e AS MATERIALIZED (
        SELECT nextval('cofferdam.workflow_seq') AS seq, q.* FROM (
            SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::int2[], $5::int2[], $6::int2[],
                $7::bool[], $8::int8[], $9::int8[], $10::int4[], $11::bytea[], $12::bytea[], $13::text[],
                $14::int8[])
            WITH ORDINALITY AS u(id, tenant, name, state, priority, on_failure, cancel_running,
                created_at, finished_at, nodes, fingerprint, idempotency_key,
                definition, kept_bytes, place)
            ORDER BY u.place) q),
    s AS (
        INSERT INTO cofferdam.workflow_spec (seq, tenant, fingerprint, idempotency_key, definition)
        SELECT seq, tenant, fingerprint, idempotency_key, definition FROM e)
    INSERT INTO cofferdam.workflow (seq, id, tenant, name, state, priority, on_failure, cancel_running,
        created_at, updated_at, finished_at, nodes, open, kept_bytes)
    SELECT e.seq, e.id, e.tenant, e.name, e.state, e.priority, e.on_failure, e.cancel_running,
        e.created_at, e.created_at, e.finished_at, e.nodes, e.nodes, e.kept_bytes
    FROM e";
const BY_KEY: &str = "
    SELECT w.id, s.fingerprint FROM cofferdam.workflow_spec s
    JOIN cofferdam.workflow w ON w.seq = s.seq WHERE s.idempotency_key = $1 AND s.tenant = $2";
const BY_ID: &str = "
    SELECT f.tenant, (SELECT s.fingerprint FROM cofferdam.workflow_spec s WHERE s.seq = f.seq)
    FROM cofferdam.workflow_of_id($1) AS f";

/// A workflow that is to be stored.
pub(super) struct Wanted {
    pub(super) workflow: NewWorkflow,
    pub(super) submission: Submission,
    pub(super) nodes: Vec<NodeRow>,
    kept_bytes: i64,
}

impl Wanted {
    pub(super) fn new(
        workflow: NewWorkflow,
        nodes: Vec<NewNode>,
        bounds: Bounds,
        now: Timestamp,
    ) -> Result<Wanted, StorageError> {
        let kept_bytes = workflow_bytes(&workflow.definition, &nodes)?;
        let kids = kids(&nodes)?;
        let mut rows = Vec::with_capacity(nodes.len());
        let mut tasks = Vec::with_capacity(nodes.len());
        for (place, (node, kids)) in (0..).zip(nodes.into_iter().zip(kids)) {
            rows.push(NodeRow {
                workflow: workflow.id.0,
                is_paused: false,
                place,
                name: node.name,
                remaining: u32::try_from(node.parents.len()).map_err(StorageError::corrupt)?,
                parents: node.parents,
                kids,
                instance_of: None,
                plan: node.plan,
            });
            tasks.push(node.task);
        }
        Ok(Wanted {
            workflow,
            submission: Submission { tasks, bounds, now },
            nodes: rows,
            kept_bytes,
        })
    }

    /// Its state at first.
    fn state(&self) -> WorkflowState {
        match self.nodes.is_empty() {
            true => final_state(false, 0, 0),
            false => WorkflowState::Running,
        }
    }

    fn told(&self, is_new: bool) -> InsertedWorkflow {
        let id = self.workflow.id;
        InsertedWorkflow { id, is_new }
    }
}

/// The parameters of [`INSERT`].
fn insert_params(all: &[&Wanted]) -> Result<Params, StorageError> {
    let workflows = || all.iter().map(|wanted| &wanted.workflow);
    let states: Vec<WorkflowState> = all.iter().map(|wanted| wanted.state()).collect();
    let now = all.iter().map(|wanted| wanted.submission.now.as_millis());
    let now: Vec<i64> = now.collect();
    let finished = states.iter().zip(&now);
    let finished = finished.map(|(state, now)| state.is_final().then_some(*now));
    let counts = all.iter().map(|wanted| i32::try_from(wanted.nodes.len()));
    let counts: Result<Vec<i32>, _> = counts.collect();
    let keys = workflows().map(|it| it.idempotency_key.as_ref());
    let keys = keys.map(|key| key.map(|key| Raw::copy(key.as_bytes())));
    Ok(params![
        workflows().map(|it| it.id.0).collect::<Vec<Uuid>>(),
        workflows()
            .map(|it| it.tenant.to_string())
            .collect::<Vec<String>>(),
        workflows()
            .map(|it| it.name.as_deref().map(text))
            .collect::<Vec<Option<String>>>(),
        states
            .iter()
            .map(|state| i16::from(workflow_state_number(*state)))
            .collect::<Vec<i16>>(),
        workflows()
            .map(|it| i16::from(it.priority.rank()))
            .collect::<Vec<i16>>(),
        workflows()
            .map(|it| i16::from(on_failure_number(it.on_failure)))
            .collect::<Vec<i16>>(),
        workflows()
            .map(|it| it.cancel_running)
            .collect::<Vec<bool>>(),
        now.clone(),
        finished.collect::<Vec<Option<i64>>>(),
        counts.map_err(StorageError::corrupt)?,
        workflows()
            .map(|it| Raw::copy(&it.fingerprint))
            .collect::<Vec<Raw>>(),
        keys.collect::<Vec<Option<Raw>>>(),
        workflows()
            .map(|it| text(&it.definition))
            .collect::<Vec<String>>(),
        all.iter()
            .map(|wanted| wanted.kept_bytes)
            .collect::<Vec<i64>>(),
    ])
}

impl Submitted for Wanted {
    type Answer = InsertedWorkflow;

    fn tasks(&self) -> &[NewTask] {
        &self.submission.tasks
    }

    fn tenants(&self) -> impl Iterator<Item = &Tenant> {
        std::iter::once(&self.workflow.tenant)
    }

    fn store(call: Call, all: Arc<[Self]>) -> BoxFuture<'static, Result<Told<Self>, Fault>> {
        async move { insert_workflows(&call, &all).await }.boxed()
    }
}

/// Stores workflows and their nodes, each all or none; or finds earlier ones.
async fn insert_workflows(call: &Call, all: &[Wanted]) -> Result<Told<Wanted>, Fault> {
    let each: Vec<&Wanted> = all.iter().collect();
    let may_be_own = match at_once(call, &each).await {
        Ok(true) => {
            let stored = all.iter().map(|wanted| wanted.told(true));
            return Ok(stored.map(Ok).collect());
        }
        // Whoever finds its own workflow has stored it in the try that was not answered.
        Err(fault) if matches!(fault.error, StorageError::Unknown(_)) => true,
        Err(fault) if fault.kind != Kind::Taken && !fault.may_concern_one() => return Err(fault),
        Ok(false) | Err(_) => false,
    };
    let mut told = Vec::with_capacity(all.len());
    for wanted in all {
        let mut planned = planned(call, wanted, may_be_own).await;
        if let Err(fault) = &planned
            && fault.kind == Kind::Again
        {
            // Whoever was faster is found now.
            planned = self::planned(call, wanted, may_be_own).await;
        }
        match planned {
            Ok(inserted) => told.push(Ok(inserted)),
            Err(fault) if fault.kind == Kind::Final || all.len() > 1 => told.push(Err(fault.error)),
            Err(fault) => return Err(fault),
        }
    }
    Ok(told)
}

/// Stores them without a look, if nothing that is known here speaks against that.
async fn at_once(call: &Call, all: &[&Wanted]) -> Result<bool, Fault> {
    let mut ids = HashSet::new();
    let are_different = all.iter().all(|wanted| ids.insert(wanted.workflow.id));
    let submissions: Vec<&Submission> = all.iter().map(|wanted| &wanted.submission).collect();
    let nodes: Vec<&NodeRow> = all.iter().flat_map(|wanted| &wanted.nodes).collect();
    let mut tx = call.begin(Mode::Referring).await?;
    tx.later(INSERT, insert_params(all)?);
    callbacks::insert_of_workflows(&mut tx, all.iter().map(|wanted| &wanted.workflow));
    if !are_different || !insert::write_new_nodes(&mut tx, &submissions, &nodes)? {
        tx.rollback().await?;
        return Ok(false);
    }
    for wanted in all {
        tx.kept(wanted.workflow.tenant.as_str(), wanted.kept_bytes);
    }
    tx.commit().await?;
    Ok(true)
}

/// Looks everything up first.
async fn planned(
    call: &Call,
    wanted: &Wanted,
    may_be_own: bool,
) -> Result<InsertedWorkflow, Fault> {
    let mut tx = call.begin(Mode::Referring).await?;
    if let Some(earlier) = earlier(&mut tx, &wanted.workflow).await? {
        tx.rollback().await?;
        let earlier = earlier?;
        return Ok(InsertedWorkflow {
            id: earlier,
            is_new: may_be_own && earlier == wanted.workflow.id,
        });
    }
    let mut plan = match store(&mut tx, wanted).await? {
        Ok(plan) => plan,
        Err(refusal) => {
            tx.rollback().await?;
            return Err(refusal.into());
        }
    };
    let nodes: Vec<&NodeRow> = wanted.nodes.iter().collect();
    insert::write_nodes(&mut tx, &mut plan, &nodes)?;
    match tx.commit().await {
        // Somebody else was faster.
        Err(fault) if fault.kind == Kind::Taken => {
            call.db.templates().clear();
            return Err(Fault::again("what was free a moment ago is taken"));
        }
        done => done?,
    }
    insert::learn(call, plan);
    Ok(wanted.told(true))
}

/// Plans what is to be written of a workflow, and writes its row with the next statement.
async fn store(tx: &mut Tx, wanted: &Wanted) -> Result<Result<insert::Plan, StorageError>, Fault> {
    let submissions = std::slice::from_ref(&wanted.submission);
    let plan = insert::plan(tx, submissions, None).await?;
    if let Err(refusal) = all_are_new(&plan, &wanted.submission) {
        return Ok(Err(refusal));
    }
    tx.later(INSERT, insert_params(&[wanted])?);
    callbacks::insert_of_workflows(tx, std::iter::once(&wanted.workflow));
    tx.kept(wanted.workflow.tenant.as_str(), wanted.kept_bytes);
    Ok(Ok(plan))
}

/// Refuses unless every task of a submission is new.
fn all_are_new(plan: &insert::Plan, submission: &Submission) -> Result<(), StorageError> {
    match plan.answers.first() {
        None => Err(StorageError::corrupt("a submission has no answer")),
        Some(Err(refusal)) => Err(refusal.clone()),
        Some(Ok(inserted)) => {
            let mut each = submission.tasks.iter().zip(inserted);
            match each.find(|(_, became)| **became != Inserted::New) {
                Some((task, _)) => Err(StorageError::Conflict(task.id)),
                None => Ok(()),
            }
        }
    }
}

/// The earlier workflow, or why it does not take the place of this one.
async fn earlier(
    tx: &mut Tx,
    workflow: &NewWorkflow,
) -> Result<Option<Result<WorkflowId, StorageError>>, Fault> {
    let compared = |id: WorkflowId, is_same: bool| match is_same {
        true => Ok(id),
        false => Err(StorageError::WorkflowConflict(id)),
    };
    if let Some(row) = tx.query_opt(BY_ID, params![workflow.id.0]).await? {
        let fingerprint: Option<&[u8]> = get(&row, 1)?;
        let is_same = tenant_of(get(&row, 0)?)? == workflow.tenant
            && fingerprint == Some(&workflow.fingerprint[..]);
        return Ok(Some(compared(workflow.id, is_same)));
    }
    let Some(key) = &workflow.idempotency_key else {
        return Ok(None);
    };
    let wanted = params![
        Raw::copy(key.as_bytes()),
        workflow.tenant.as_str().to_owned()
    ];
    let Some(row) = tx.query_opt(BY_KEY, wanted).await? else {
        return Ok(None);
    };
    let is_same = get::<&[u8]>(&row, 1)? == workflow.fingerprint;
    Ok(Some(compared(WorkflowId(get(&row, 0)?), is_same)))
}
