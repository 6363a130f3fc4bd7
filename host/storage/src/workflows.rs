//! Workflows: their rows, and the release of nodes whose turn has come.
//!
//! Every node is a task, so that it is claimed and ends as any task does; here is what is more. Whatever makes a
//! node final releases the nodes behind it in the same transaction, on every way to end. What a node does
//! when it is claimed is decided above storage.

pub(crate) mod again;
mod asked;
mod seen;

use async_trait::async_trait;

use crate::{Bounds, StorageError};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::task::TaskId;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;
use cofferdam_domain::workflow::{WorkflowId, WorkflowState};

pub use self::asked::{
    CancelledWorkflow, HeldNode, InsertedWorkflow, NewNode, NewSignal, NewWorkflow, Park, Parking,
    PausedWorkflow, RetriedWorkflow, Retry, Signalled,
};
pub use self::seen::{
    Before, EndBefore, Node, NodeCounts, Waits, Workflow, WorkflowFilter, WorkflowNodes,
    WorkflowPage,
};

/// Nodes that one workflow may have in all, instances included.
pub const WORKFLOW_NODES_MAX: usize = 10_000;
/// Signals of one workflow that are kept.
pub const WORKFLOW_SIGNALS_MAX: u32 = 1_000;

/// Workflows. Durable as [`Tasks`](crate::Tasks) are.
///
/// A node is `blocked` as long as a node before it is not final, whatever becomes of that, and is pending from
/// then on: whoever claims it looks at how those ended ([`Workflows::ends_before`]), and ends it as
/// `cancelled` with [`FailureKind::Skipped`](cofferdam_domain::attempt::FailureKind::Skipped) if it is not to
/// run. A workflow is final from the transaction on that makes its last node final: failed if a node is, or else
/// cancelled if it was cancelled or a node was (other than skipped), or else completed. Instances do not
/// count for that; their node answers for them.
///
/// The task of a node is tried again and removed with its workflow alone.
#[async_trait]
pub trait Workflows: Send + Sync + 'static {
    /// Stores a workflow with its nodes, all or none, by the rules of
    /// [`Tasks::insert_tasks`](crate::Tasks::insert_tasks). An earlier workflow with the same id or idempotency
    /// key takes its place; [`StorageError::WorkflowConflict`] if that was a different request. The key is
    /// taken as long as the workflow is kept. One without nodes is completed at once.
    async fn insert_workflow(
        &self,
        workflow: NewWorkflow,
        nodes: Vec<NewNode>,
        bounds: Bounds,
        now: Timestamp,
    ) -> Result<InsertedWorkflow, StorageError>;

    /// One workflow with all its nodes, instances included.
    async fn workflow(
        &self,
        whose: &Whose,
        id: WorkflowId,
    ) -> Result<Option<WorkflowNodes>, StorageError>;

    /// The state of a workflow alone.
    async fn workflow_state(
        &self,
        whose: &Whose,
        id: WorkflowId,
    ) -> Result<Option<WorkflowState>, StorageError>;

    /// The definition of a workflow, as it was stored.
    async fn workflow_definition(
        &self,
        whose: &Whose,
        id: WorkflowId,
    ) -> Result<Option<String>, StorageError>;

    /// A tenant's workflows, newest first.
    async fn workflows(
        &self,
        tenant: &Tenant,
        filter: &WorkflowFilter,
        limit: u32,
    ) -> Result<WorkflowPage, StorageError>;

    /// How what comes before a node ended, by place. Outputs are given as long as all of them together have no
    /// more than `inline_bytes_max`; of the others the length alone.
    async fn ends_before(
        &self,
        tenant: &Tenant,
        node: TaskId,
        before: Before,
        inline_bytes_max: u64,
    ) -> Result<Vec<EndBefore>, StorageError>;

    /// Takes a claimed node from its worker until what it waits for is there, and stores what it waits for. The
    /// attempt is neither counted nor recorded, as if it had not been claimed. Fenced as an end is.
    async fn park(
        &self,
        held: HeldNode,
        park: Park,
        bounds: Bounds,
        now: Timestamp,
    ) -> Result<Parking, StorageError>;

    /// Gives a signal to the node that waits for it longest, or keeps it for one that will.
    async fn signal_workflow(
        &self,
        whose: &Whose,
        id: WorkflowId,
        signal: NewSignal,
        now: Timestamp,
    ) -> Result<Signalled, StorageError>;

    /// Cancels every node that is not final; those that run are marked for their workers, as
    /// [`Tasks::cancel`](crate::Tasks::cancel) does.
    async fn cancel_workflow(
        &self,
        whose: &Whose,
        id: WorkflowId,
        now: Timestamp,
    ) -> Result<CancelledWorkflow, StorageError>;

    /// Keeps the nodes of a workflow from being claimed, or lets them go on. What runs is not touched. One that
    /// is claimed nevertheless, because it ran and is tried again, is parked by whoever claims it
    /// ([`Park::Paused`]).
    async fn pause_workflow(
        &self,
        whose: &Whose,
        id: WorkflowId,
        paused: bool,
        now: Timestamp,
    ) -> Result<PausedWorkflow, StorageError>;

    /// Makes nodes of a final workflow wait again, with as many further attempts as they had at first. The
    /// results of the others stay.
    async fn retry_workflow(
        &self,
        whose: &Whose,
        id: WorkflowId,
        retry: Retry,
        now: Timestamp,
    ) -> Result<RetriedWorkflow, StorageError>;

    /// Looks for workflows that nothing has changed since `unchanged_since` and nothing ever will, because all
    /// their nodes are final or blocked, and releases what must be. Tells how many they were: by what
    /// the other calls do there are none.
    async fn repair_workflows(
        &self,
        unchanged_since: Timestamp,
        limit: u32,
        now: Timestamp,
    ) -> Result<u64, StorageError>;
}
