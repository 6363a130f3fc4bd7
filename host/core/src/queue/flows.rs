//! Workflows as the queue's: storing one whose nodes were checked, and changing one as a whole.
//!
//! What a workflow may be is said in `workflows`; here is what storage and those who wait are told.

use std::sync::Arc;

use cofferdam_domain::callback::Callback;
use cofferdam_domain::caller::{Caller, Scope};
use cofferdam_domain::module::{ModuleInfo, ModuleRef};
use cofferdam_domain::step::Step;
use cofferdam_domain::task::{TaskId, TaskSpec};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;
use cofferdam_domain::workflow::WorkflowId;
use cofferdam_storage::{
    Cancelled, CancelledWorkflow, InsertedWorkflow, NewNode, NewSignal, NewWorkflow,
    PausedWorkflow, RetriedWorkflow, Retry, Signalled, StorageError, Workflows,
};

use crate::nodes::pointer::Pointer;
use crate::queue::{Queue, QueueError};
use crate::registry::schema::fit::Passed;
use crate::runner::RunError;

impl Queue {
    /// Where workflows are kept, for queries.
    pub fn workflows(&self) -> &dyn Workflows {
        &**self.shared.nodes.workflows()
    }

    /// The time, and the id of a workflow that is submitted now.
    pub(crate) fn workflow_id(&self) -> (Timestamp, WorkflowId) {
        let now = self.shared.clock.now();
        (now, WorkflowId(self.shared.dice.task_id(now).0))
    }

    /// The module of nodes for which the host itself does what they do.
    pub(crate) async fn control(&self) -> Result<ModuleRef, QueueError> {
        Ok(self.registry.control().await.map_err(RunError::from)?)
    }

    /// Whether workflows are taken.
    pub(crate) fn takes_workflows(&self, caller: &Caller) -> Result<(), QueueError> {
        caller.may(Scope::Run)?;
        self.takes_work()?;
        Ok(self.check_cpu(caller)?)
    }

    /// Whether the ends of a caller's workflow may be told.
    pub(crate) fn tells_of_workflow(
        &self,
        caller: &Caller,
        callback: &Callback,
    ) -> Result<(), QueueError> {
        Ok(self.shared.admission.check_callback(caller, callback)?)
    }

    /// Why what one node gives can never be taken at a place of another's input, or never is a list; none if it could
    /// be, or if that cannot be told now.
    pub(crate) async fn never_fits(
        &self,
        caller: &Caller,
        gives: &TaskSpec,
        (pointer, is_list): (&Pointer, bool),
        takes: Option<(&TaskSpec, &[Step])>,
    ) -> Option<String> {
        let gives = self.module_of(caller, gives).await?;
        let into = match takes {
            None => None,
            Some((spec, place)) => Some((self.module_of(caller, spec).await?, place)),
        };
        let into = into.as_ref().map(|(info, place)| (&**info, *place));
        let passed = Passed {
            pointer: pointer.parts(),
            is_list,
        };
        self.registry.never_fits(&gives, passed, into).await
    }

    /// The module of a node; none if it cannot be had now.
    async fn module_of(&self, caller: &Caller, spec: &TaskSpec) -> Option<Arc<ModuleInfo>> {
        let reference = ModuleRef {
            name: spec.module.clone(),
            digest: Some(spec.digest),
        };
        let resolved = self.registry.resolve(caller.tenant(), &reference).await;
        resolved.ok()
    }

    /// Stores a workflow and wakes the dispatcher.
    pub(crate) async fn insert_workflow(
        &self,
        caller: &Caller,
        workflow: NewWorkflow,
        nodes: Vec<NewNode>,
        now: Timestamp,
    ) -> Result<InsertedWorkflow, StorageError> {
        let begins = nodes.iter().filter(|node| node.parents.is_empty()).count();
        let due = vec![workflow.priority; begins];
        let bounds = self.bounds(caller);
        let inserted = self
            .workflows()
            .insert_workflow(workflow, nodes, bounds, now)
            .await?;
        self.announce(caller.tenant(), &due);
        Ok(inserted)
    }

    /// Cancels every node of a workflow that is not final.
    pub async fn cancel_workflow(
        &self,
        caller: &Caller,
        id: WorkflowId,
    ) -> Result<CancelledWorkflow, QueueError> {
        caller.may(Scope::Run)?;
        tracing::debug!(workflow.id = %id, %caller, "a workflow is to be cancelled");
        let (whose, now) = (Whose::of(caller), self.shared.clock.now());
        let answer = self.workflows().cancel_workflow(&whose, id, now).await?;
        if let CancelledWorkflow::Cancelled { at_once, requested } = &answer {
            let tell = |task: TaskId, answer| {
                self.shared.tell_cancelled(task, answer, &self.cancels);
            };
            at_once
                .iter()
                .for_each(|task| tell(*task, Cancelled::AtOnce));
            for (task, worker) in requested {
                tell(*task, Cancelled::Requested(*worker));
            }
            self.shared.tell_work();
        }
        Ok(answer)
    }

    /// Pauses a workflow or lets it go on.
    pub async fn pause_workflow(
        &self,
        caller: &Caller,
        id: WorkflowId,
        paused: bool,
    ) -> Result<PausedWorkflow, QueueError> {
        caller.may(Scope::Run)?;
        tracing::debug!(workflow.id = %id, paused, %caller, "a workflow is to be paused or resumed");
        let (whose, now) = (Whose::of(caller), self.shared.clock.now());
        let answer = self
            .workflows()
            .pause_workflow(&whose, id, paused, now)
            .await?;
        self.shared.tell_work();
        Ok(answer)
    }

    /// Tries nodes of a final workflow again.
    pub async fn retry_workflow(
        &self,
        caller: &Caller,
        id: WorkflowId,
        retry: Retry,
    ) -> Result<RetriedWorkflow, QueueError> {
        self.takes_workflows(caller)?;
        tracing::debug!(workflow.id = %id, %caller, "a retry of a workflow is requested");
        let (whose, now) = (Whose::of(caller), self.shared.clock.now());
        let answer = self
            .workflows()
            .retry_workflow(&whose, id, retry, now)
            .await?;
        self.shared.tell_work();
        Ok(answer)
    }

    /// Gives a signal to a workflow.
    pub async fn signal_workflow(
        &self,
        caller: &Caller,
        id: WorkflowId,
        signal: NewSignal,
    ) -> Result<Signalled, QueueError> {
        caller.may(Scope::Run)?;
        tracing::debug!(workflow.id = %id, %caller, "a workflow gets a signal");
        let (whose, now) = (Whose::of(caller), self.shared.clock.now());
        let answer = self
            .workflows()
            .signal_workflow(&whose, id, signal, now)
            .await?;
        if let Signalled::Given(task) = answer {
            self.shared.tell_changed(task);
            self.shared.tell_work();
        }
        Ok(answer)
    }
}
