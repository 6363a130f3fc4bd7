//! Workflows and their nodes as the API shows them.

use std::time::Duration;

use serde::Serialize;

use crate::http::tasks::callback_state::CallbackStateJson;
use crate::http::tasks::wire::FailureJson;
use crate::intake::time::Time;
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::label::Label;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::workflow::{WorkflowId, WorkflowState, graph};
use cofferdam_storage::{Node, NodeCounts, Waits, Workflow, WorkflowNodes};

/// What may begin no earlier than that waits for something that has no time: ten years.
const FAR: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// The answer to a change of a workflow.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct WorkflowStatus {
    workflow_id: String,
    status: &'static str,
}

/// A workflow without its nodes.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct WorkflowSummary {
    workflow_id: String,
    name: Option<String>,
    /// `running`, `paused`, `completed`, `failed` or `cancelled`.
    status: &'static str,
    /// Whether a failure keeps nodes from beginning.
    stopping: bool,
    /// The number of the run, from 1; each retry is another.
    run: u32,
    priority: &'static str,
    on_failure: &'static str,
    cancel_running: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Time,
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Time>,
    counts: NodeCountsJson,
}

/// The nodes of a workflow by where they stand, instances of a `map` among them.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct NodeCountsJson {
    nodes: u32,
    /// Those that are not final.
    open: u32,
    completed: u32,
    failed: u32,
    /// Those that somebody cancelled.
    cancelled: u32,
    /// Those that were not to run.
    skipped: u32,
}

/// A workflow with its nodes.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct WorkflowJson {
    #[serde(flatten)]
    pub(super) workflow: WorkflowSummary,
    /// The ids of nodes: first those that wait for none, then those that wait for these, and so on.
    levels: Vec<Vec<String>>,
    /// The nodes.
    pub(super) nodes: Vec<NodeJson>,
    /// Whom its ends are told, and how far that has come for the newest.
    callback: Option<CallbackStateJson>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct NodeJson {
    /// Its id. Of a nested workflow `sub`, the nodes are `sub/NODE`, and `sub/$input` has its input; the instances of
    /// a `map` are `NODE[0]` and so on.
    pub(super) id: String,
    /// Its task.
    task_id: String,
    pub(super) status: &'static str,
    /// The finer word: `scheduled` and `retrying` are pending, `skipped` was not to run; else it is the status.
    label: &'static str,
    /// Why it was skipped: `parent_failed:NODE`, `condition` or `stopped`.
    reason: Option<String>,
    level: u32,
    /// The nodes that it waits for.
    parents: Vec<String>,
    /// The node whose instance it is.
    instance_of: Option<String>,
    /// What it waits for apart from nodes before it: `instances`, or `signal:NAME`.
    waits_for: Option<String>,
    attempt: u32,
    progress: f64,
    /// Why it failed.
    error: Option<FailureJson>,
    /// The earliest moment it may begin; null while it waits for what has none.
    #[schema(value_type = Option<String>, format = DateTime)]
    run_at: Option<Time>,
    #[schema(value_type = Option<String>, format = DateTime)]
    started_at: Option<Time>,
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Time>,
}

impl WorkflowStatus {
    pub(crate) fn new(id: WorkflowId, state: WorkflowState) -> WorkflowStatus {
        WorkflowStatus {
            workflow_id: id.to_string(),
            status: state.as_str(),
        }
    }
}

impl From<Workflow> for WorkflowSummary {
    fn from(workflow: Workflow) -> WorkflowSummary {
        WorkflowSummary {
            workflow_id: workflow.id.to_string(),
            name: workflow.name,
            status: workflow.state.as_str(),
            stopping: workflow.is_stopping,
            run: workflow.run,
            priority: workflow.priority.as_str(),
            on_failure: workflow.on_failure.as_str(),
            cancel_running: workflow.cancel_running,
            created_at: Time(workflow.created_at),
            updated_at: Time(workflow.updated_at),
            finished_at: workflow.finished_at.map(Time),
            counts: workflow.counts.into(),
        }
    }
}

impl From<NodeCounts> for NodeCountsJson {
    fn from(counts: NodeCounts) -> NodeCountsJson {
        let NodeCounts {
            nodes,
            open,
            completed,
            failed,
            cancelled,
            skipped,
        } = counts;
        NodeCountsJson {
            nodes,
            open,
            completed,
            failed,
            cancelled,
            skipped,
        }
    }
}

impl WorkflowJson {
    /// The workflow as it is at `now`.
    pub(crate) fn new(
        found: WorkflowNodes,
        callback: Option<CallbackStateJson>,
        now: Timestamp,
    ) -> WorkflowJson {
        let WorkflowNodes {
            workflow, nodes, ..
        } = found;
        let of_nodes = levels(&nodes);
        let deepest = of_nodes.iter().copied().max().unwrap_or(0);
        let mut levels = vec![Vec::new(); deepest + 1];
        for (node, level) in nodes.iter().zip(&of_nodes) {
            levels[*level].push(node.name.clone());
        }
        let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
        let shown = nodes.into_iter().zip(of_nodes);
        WorkflowJson {
            workflow: workflow.into(),
            levels,
            nodes: shown
                .map(|(node, level)| NodeJson::new(node, level, &names, now))
                .collect(),
            callback,
        }
    }
}

impl NodeJson {
    fn new(node: Node, level: usize, names: &[String], now: Timestamp) -> NodeJson {
        let name = |place: &u32| {
            usize::try_from(*place)
                .ok()
                .and_then(|it| names.get(it))
                .cloned()
        };
        let is_skipped = node.state == TaskState::Cancelled
            && node.failure.as_ref().map(|failure| failure.kind) == Some(FailureKind::Skipped);
        let waits = node
            .waits
            .clone()
            .filter(|waits| match (waits, node.state) {
                (Waits::Instances, state) => state == TaskState::Blocked,
                (Waits::Signal(_), state) => state == TaskState::Pending && node.run_at > now,
            });
        let label = match waits.is_some() {
            true => Label::Blocked,
            false => label(&node, is_skipped, now),
        };
        let (reason, error) = match (node.failure, node.state) {
            (Some(failure), _) if is_skipped => (Some(failure.message), None),
            (Some(failure), _) => (None, Some(failure.into())),
            (None, _) => (None, None),
        };
        NodeJson {
            id: node.name,
            task_id: node.task_id.to_string(),
            status: node.state.as_str(),
            label: label.as_str(),
            reason,
            level: u32::try_from(level).unwrap_or(u32::MAX),
            parents: node.parents.iter().filter_map(name).collect(),
            instance_of: node.instance_of.as_ref().and_then(name),
            waits_for: waits.map(|waits| match waits {
                Waits::Instances => "instances".to_owned(),
                Waits::Signal(name) => format!("signal:{name}"),
            }),
            attempt: node.attempt,
            progress: crate::http::tasks::wire::progress(node.state, node.progress),
            error,
            run_at: Some(node.run_at).filter(|at| *at < now.plus(FAR)).map(Time),
            started_at: node.started_at.map(Time),
            finished_at: node.finished_at.map(Time),
        }
    }
}

fn label(node: &Node, is_skipped: bool, now: Timestamp) -> Label {
    match node.state {
        TaskState::Blocked => Label::Blocked,
        TaskState::Pending if node.run_at > now && node.attempt == 0 => Label::Scheduled,
        TaskState::Pending if node.run_at > now => Label::Retrying,
        TaskState::Pending => Label::Pending,
        TaskState::Running => Label::Running,
        TaskState::Completed => Label::Completed,
        TaskState::Failed => Label::Failed,
        TaskState::Cancelled if is_skipped => Label::Skipped,
        TaskState::Cancelled => Label::Cancelled,
    }
}

/// The level of each node: one more than the deepest of those that it waits for. An instance has that of its node.
fn levels(nodes: &[Node]) -> Vec<usize> {
    let place = |place: &u32| usize::try_from(*place).ok().filter(|it| *it < nodes.len());
    let parents: Vec<Vec<usize>> = nodes
        .iter()
        .map(|node| node.parents.iter().filter_map(place).collect())
        .collect();
    let mut children = vec![Vec::new(); nodes.len()];
    for (child, parents) in parents.iter().enumerate() {
        parents
            .iter()
            .for_each(|parent| children[*parent].push(child));
    }
    // What is stored has no cycle.
    let levels = graph::levels(&parents, &children);
    let mut levels = levels.unwrap_or_else(|_| vec![0; nodes.len()]);
    for (at, node) in nodes.iter().enumerate() {
        if let Some(of) = node.instance_of.as_ref().and_then(place) {
            levels[at] = levels[of];
        }
    }
    levels
}
