//! What is seen of workflows.

use crate::ListPosition;
use cofferdam_domain::attempt::{Failure, Payload};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{Priority, TaskId};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::workflow::{OnFailure, WorkflowId, WorkflowState};

/// A workflow as storage knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workflow {
    /// Its id.
    pub id: WorkflowId,
    /// Whose it is.
    pub tenant: Tenant,
    /// Its name.
    pub name: Option<String>,
    /// Its state.
    pub state: WorkflowState,
    /// The number of its run, from 1.
    pub run: u32,
    /// How soon its nodes are claimed.
    pub priority: Priority,
    /// What a failed node does to the others.
    pub on_failure: OnFailure,
    /// Whether a failure that stops it also cancels what runs.
    pub cancel_running: bool,
    /// Whether a failure has stopped it.
    pub is_stopping: bool,
    /// Whether it was cancelled.
    pub is_cancelled: bool,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When it or a node of it was last released, ended or changed by hand.
    pub updated_at: Timestamp,
    /// When it became final.
    pub finished_at: Option<Timestamp>,
    /// Its nodes, counted.
    pub counts: NodeCounts,
}

/// How many nodes of a workflow are final, instances included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeCounts {
    /// All nodes.
    pub nodes: u32,
    /// Those that are not final.
    pub open: u32,
    /// Those that completed.
    pub completed: u32,
    /// Those that failed.
    pub failed: u32,
    /// Those that were cancelled.
    pub cancelled: u32,
    /// Those that did not run because of a node before them, of a condition, or of the stop of their workflow.
    pub skipped: u32,
}

/// A workflow with its nodes.
#[derive(Clone, Debug)]
pub struct WorkflowNodes {
    /// The workflow.
    pub workflow: Workflow,
    /// Its nodes, by place.
    pub nodes: Vec<Node>,
    /// Grows with every change of the workflow and of a node.
    pub change: i64,
}

/// A node as storage knows it.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its task.
    pub task_id: TaskId,
    /// The state of that.
    pub state: TaskState,
    /// Attempts begun so far.
    pub attempt: u32,
    /// How many of those it waits for are not final.
    pub remaining: u32,
    /// The places of those it waits for.
    pub parents: Vec<u32>,
    /// The place of the node whose instance it is.
    pub instance_of: Option<u32>,
    /// What it is parked for, or was.
    pub waits: Option<Waits>,
    /// Why its newest attempt that has ended failed; why it did not run, if it was skipped.
    pub failure: Option<Failure>,
    /// 0 to 1, as the guest last reported.
    pub progress: f64,
    /// The earliest moment it may be claimed.
    pub run_at: Timestamp,
    /// When its newest attempt began.
    pub started_at: Option<Timestamp>,
    /// When it became final.
    pub finished_at: Option<Timestamp>,
}

/// What a node is parked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Its instances.
    Instances,
    /// A signal of that name.
    Signal(String),
}

/// What comes before a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// The nodes that it waits for by the definition.
    Parents,
    /// Its instances.
    Instances,
}

/// How a node before another one ended.
#[derive(Clone, Debug)]
pub struct EndBefore {
    /// Its name.
    pub name: String,
    /// Its task.
    pub task_id: TaskId,
    /// Its state.
    pub state: TaskState,
    /// The number of its newest attempt.
    pub attempt: u32,
    /// Why that failed.
    pub failure: Option<Failure>,
    /// Its output, if it has one that is not too long.
    pub output: Option<Payload>,
    /// The length of its output.
    pub output_bytes: Option<u64>,
}

/// Which workflows to list.
#[derive(Clone, Debug, Default)]
pub struct WorkflowFilter {
    /// Only those in one of these states; all if empty.
    pub states: Vec<WorkflowState>,
    /// Only those of that name.
    pub name: Option<String>,
    /// Only those behind this place in the list.
    pub after: Option<ListPosition>,
}

/// Some workflows of a list.
#[derive(Clone, Debug)]
pub struct WorkflowPage {
    /// The workflows, in order.
    pub workflows: Vec<Workflow>,
    /// Where the next page begins; absent on the last.
    pub next: Option<ListPosition>,
}

impl WorkflowPage {
    /// A page of these workflows with their numbers, of which there may be one more than belong on it.
    pub(crate) fn cut(mut found: Vec<(i64, Workflow)>, limit: u32) -> WorkflowPage {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = found.len() > limit;
        found.truncate(limit);
        let last = found.last().map(|(seq, _)| ListPosition(*seq));
        WorkflowPage {
            next: last.filter(|_| has_more),
            workflows: found.into_iter().map(|(_, workflow)| workflow).collect(),
        }
    }
}
