//! Workflows: the one door for new ones.
//!
//! A workflow is checked as a whole before anything of it is stored: its graph, what its nodes refer to, and each of
//! its nodes as if it were a task of its own. Nested workflows are laid out into the one around them here, so that
//! there is one graph for storage, and pause, cancel and retry are about all of it.

pub mod definitions;
mod edges;
mod layout;

use serde_json::value::RawValue;

use crate::nodes::plan::MapText;
use crate::queue::{Queue, QueueError, Submission};
use crate::workflows::edges::Uses;
use crate::workflows::layout::{Laid, Layout, What};
use cofferdam_domain::attempt::Payload;
use cofferdam_domain::callback::Callback;
use cofferdam_domain::caller::Caller;
use cofferdam_domain::task::{Input, Priority};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::workflow::graph::BadGraph;
use cofferdam_domain::workflow::{OnFailure, WorkflowId};
use cofferdam_storage::{InsertedWorkflow, NewNode, NewWorkflow, StorageError};

/// How deep workflows nest in each other.
pub const DEPTH_MAX: usize = 8;
/// The longest name of a workflow, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// A workflow as a caller submits it, parsed but not yet checked.
#[derive(Debug)]
pub struct WorkflowSubmission {
    /// The caller's own id, if any.
    pub id: Option<WorkflowId>,
    /// Its name, which need not be its alone.
    pub name: Option<String>,
    /// When its nodes are claimed relative to others.
    pub priority: Priority,
    /// What a failed node does to the others.
    pub on_failure: OnFailure,
    /// Whether a failure that stops it also cancels what runs.
    pub cancel_running: bool,
    /// Its input, as JSON text.
    pub input: Option<String>,
    /// Its nodes and edges.
    pub graph: GraphSubmission,
    /// Whom its ends are told.
    pub callback: Option<Callback>,
    /// What makes a repeated submission the same one.
    pub idempotency_key: Option<String>,
    /// A hash of the request as it came.
    pub fingerprint: [u8; 16],
}

/// The nodes and edges of a workflow.
#[derive(Debug, Default)]
pub struct GraphSubmission {
    /// The nodes.
    pub nodes: Vec<NodeSubmission>,
    /// The edges, by the names of nodes: from, to.
    pub edges: Vec<(String, String)>,
}

/// A node as a caller submits it.
#[derive(Debug)]
pub struct NodeSubmission {
    /// Its name.
    pub id: String,
    /// What it does.
    pub work: NodeWork,
    /// Its condition.
    pub when: Option<Box<RawValue>>,
    /// What it runs for each of.
    pub map: Option<MapText>,
    /// Whether it runs whatever became of the nodes before it.
    pub runs_after_failure: bool,
}

/// What a node does.
#[derive(Debug)]
pub enum NodeWork {
    /// It runs a module.
    Module(Box<Submission>),
    /// It runs source text; the submission names the interpreter, and its input is a
    /// [`Script`](crate::nodes::script::Script).
    Script(Box<Submission>),
    /// It waits for a signal.
    Wait {
        /// The signal's name.
        signal: String,
        /// How long.
        timeout_ms: Option<u64>,
    },
    /// It is a workflow itself.
    Workflow {
        /// Its input, as JSON text with references; none if absent.
        input: Option<String>,
        /// Its nodes and edges.
        graph: GraphSubmission,
    },
}

/// Why a workflow was refused.
#[derive(Debug, thiserror::Error)]
pub enum WorkflowError {
    /// Its nodes and edges are no graph.
    #[error("{}{error}", told(.nested))]
    Graph {
        /// The nested workflow whose they are; empty for the whole.
        nested: String,
        /// Why.
        error: BadGraph,
    },
    /// A node has a mistake of its own.
    #[error("node {node}: {why}")]
    Node {
        /// Its name.
        node: String,
        /// What is wrong.
        why: String,
    },
    /// What one node gives can never be what another takes.
    #[error("the edge from {from} to {to}: what {from} gives{at}: {why}")]
    Edge {
        /// The one that gives.
        from: String,
        /// The one that takes.
        to: String,
        /// Where in the output, as people read it.
        at: String,
        /// Why it never fits.
        why: String,
    },
    /// A node cannot be a task.
    #[error("node {node}: {error}")]
    Task {
        /// Its name.
        node: String,
        /// Why.
        error: Box<QueueError>,
    },
    /// Workflows nest too deep.
    #[error("node {0}: workflows nest at most {DEPTH_MAX} deep")]
    TooDeep(String),
    /// Its caller may not submit it, or not now.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

fn told(name: &str) -> String {
    match name {
        "" => String::new(),
        name => format!("in node {name}: "),
    }
}

impl From<StorageError> for WorkflowError {
    fn from(error: StorageError) -> WorkflowError {
        WorkflowError::Queue(error.into())
    }
}

impl Queue {
    /// Checks and stores a workflow, all of it or nothing.
    pub async fn submit_workflow(
        &self,
        caller: &Caller,
        submission: WorkflowSubmission,
    ) -> Result<InsertedWorkflow, WorkflowError> {
        let (workflow, nodes, now) = self.prepare_workflow(caller, submission).await?;
        Ok(self.insert_workflow(caller, workflow, nodes, now).await?)
    }

    /// Checks a workflow without storing it.
    pub(crate) async fn check_workflow(
        &self,
        caller: &Caller,
        submission: WorkflowSubmission,
    ) -> Result<(), WorkflowError> {
        self.prepare_workflow(caller, submission).await?;
        Ok(())
    }

    /// Checks what a workflow will be made of whose input is not known yet.
    pub(crate) async fn check_definition(
        &self,
        caller: &Caller,
        graph: GraphSubmission,
    ) -> Result<(), WorkflowError> {
        let laid = Layout::of(graph, None)?;
        let (now, _) = self.workflow_id();
        self.check_nodes(caller, laid, Priority::default(), now)
            .await?;
        Ok(())
    }

    /// What is stored of a workflow, once all of it is checked.
    async fn prepare_workflow(
        &self,
        caller: &Caller,
        submission: WorkflowSubmission,
    ) -> Result<(NewWorkflow, Vec<NewNode>, Timestamp), WorkflowError> {
        self.takes_workflows(caller)?;
        let (now, fresh) = self.workflow_id();
        let WorkflowSubmission {
            id,
            name,
            priority,
            on_failure,
            cancel_running,
            input,
            graph,
            callback,
            idempotency_key,
            fingerprint,
        } = submission;
        if let Some(callback) = &callback {
            self.tells_of_workflow(caller, callback)?;
        }
        let laid = Layout::of(graph, Some(input.as_deref()))?;
        tracing::debug!(nodes = laid.len(), %caller, "a workflow is submitted");
        let nodes = self.check_nodes(caller, laid, priority, now).await?;
        let workflow = NewWorkflow {
            id: id.unwrap_or(fresh),
            tenant: caller.tenant().clone(),
            name,
            priority,
            on_failure,
            cancel_running,
            definition: input.unwrap_or_else(|| "null".to_owned()),
            callback,
            idempotency_key,
            fingerprint,
        };
        Ok((workflow, nodes, now))
    }

    /// The nodes of a workflow, each checked as if it were a task of its own.
    async fn check_nodes(
        &self,
        caller: &Caller,
        laid: Vec<Laid>,
        priority: Priority,
        now: Timestamp,
    ) -> Result<Vec<NewNode>, WorkflowError> {
        let mut nodes = Vec::with_capacity(laid.len());
        let mut uses = Uses::default();
        for node in laid {
            let Laid {
                name,
                what,
                plan,
                parents,
                gives,
                takes,
            } = node;
            uses.add(&name, gives, takes);
            let submission = self.submission_of(what, priority).await?;
            let task = self.check(caller, submission, now).await;
            let task = task.map_err(|error| WorkflowError::Task {
                node: name.clone(),
                error: Box::new(error),
            })?;
            nodes.push(NewNode {
                name,
                task,
                plan: plan.map(|plan| plan.text()),
                parents,
            });
        }
        uses.check(self, caller, &nodes).await?;
        Ok(nodes)
    }

    /// The task of a node; one that runs no guest is a task of the host's own module.
    async fn submission_of(
        &self,
        what: What,
        priority: Priority,
    ) -> Result<Submission, WorkflowError> {
        let submission = match what {
            What::Task(submission) => *submission,
            What::Control { input } => {
                let payload = Payload::json(input.unwrap_or_default());
                let own = self.control().await?;
                Submission {
                    is_template: true,
                    ..Submission::new(own, Input::Inline(payload))
                }
            }
        };
        Ok(Submission {
            priority,
            ..submission
        })
    }
}
