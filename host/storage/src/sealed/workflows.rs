//! [`Workflows`] of which a backend sees sealed words alone.

use async_trait::async_trait;

use super::Sealed;
use super::values::Row;
use crate::{
    Before, Bounds, CancelledWorkflow, EndBefore, HeldNode, InsertedWorkflow, NewNode, NewSignal,
    NewWorkflow, Park, Parking, PausedWorkflow, RetriedWorkflow, Retry, Signalled, StorageError,
    WorkflowFilter, WorkflowNodes, WorkflowPage, Workflows,
};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::TaskId;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;
use cofferdam_domain::workflow::{WorkflowId, WorkflowState};

impl Sealed<dyn Workflows> {
    fn keep_nodes(&self, nodes: &mut [NewNode]) -> Result<(), StorageError> {
        nodes.iter_mut().try_for_each(|node| {
            let task = &mut node.task;
            if let Some(plan) = &mut node.plan {
                *plan = Row::node(&self.sealer, &task.tenant, task.id).keep_words(plan);
            }
            Row::spec(&self.sealer, &task.tenant, task.id).keep_spec(&mut task.spec)
        })
    }

    fn keep_workflow(&self, workflow: &mut NewWorkflow) {
        let row = Row::workflow(&self.sealer, &workflow.tenant, workflow.id);
        workflow.definition = row.keep_words(&workflow.definition);
    }

    /// Whose a workflow is, if it is known to be there.
    async fn tenant_of(
        &self,
        whose: &Whose,
        id: WorkflowId,
    ) -> Result<Option<Tenant>, StorageError> {
        match whose {
            Whose::One(tenant) => Ok(Some(tenant.clone())),
            Whose::All => {
                let found = self.inner.workflow(whose, id).await?;
                Ok(found.map(|found| found.workflow.tenant))
            }
        }
    }

    fn open_end(&self, tenant: &Tenant, end: &mut EndBefore) -> Result<(), StorageError> {
        let row = Row::attempt(&self.sealer, tenant, end.task_id, end.attempt);
        if let Some(failure) = &mut end.failure {
            row.open_failure(failure)?;
        }
        if let Some(output) = &mut end.output {
            output.body = row.open_output(&output.body)?;
            end.output_bytes = u64::try_from(output.body.len()).ok();
        }
        Ok(())
    }
}

#[async_trait]
impl Workflows for Sealed<dyn Workflows> {
    async fn insert_workflow(
        &self,
        mut workflow: NewWorkflow,
        mut nodes: Vec<NewNode>,
        bounds: Bounds,
        now: Timestamp,
    ) -> Result<InsertedWorkflow, StorageError> {
        self.keep_workflow(&mut workflow);
        self.keep_nodes(&mut nodes)?;
        let inserted = self.inner.insert_workflow(workflow, nodes, bounds, now);
        inserted.await
    }

    async fn workflow(
        &self,
        whose: &Whose,
        id: WorkflowId,
    ) -> Result<Option<WorkflowNodes>, StorageError> {
        let Some(mut found) = self.inner.workflow(whose, id).await? else {
            return Ok(None);
        };
        for node in &mut found.nodes {
            let ended = node.attempt - u32::from(node.state == TaskState::Running);
            if let Some(failure) = &mut node.failure {
                let tenant = &found.workflow.tenant;
                Row::attempt(&self.sealer, tenant, node.task_id, ended).open_failure(failure)?;
            }
        }
        Ok(Some(found))
    }

    async fn workflow_state(
        &self,
        whose: &Whose,
        id: WorkflowId,
    ) -> Result<Option<WorkflowState>, StorageError> {
        self.inner.workflow_state(whose, id).await
    }

    async fn workflow_definition(
        &self,
        whose: &Whose,
        id: WorkflowId,
    ) -> Result<Option<String>, StorageError> {
        let Some(definition) = self.inner.workflow_definition(whose, id).await? else {
            return Ok(None);
        };
        let tenant = self.tenant_of(whose, id).await?;
        tenant
            .map(|tenant| Row::workflow(&self.sealer, &tenant, id).open_words(&definition))
            .transpose()
    }

    async fn workflows(
        &self,
        tenant: &Tenant,
        filter: &WorkflowFilter,
        limit: u32,
    ) -> Result<WorkflowPage, StorageError> {
        self.inner.workflows(tenant, filter, limit).await
    }

    async fn ends_before(
        &self,
        tenant: &Tenant,
        node: TaskId,
        before: Before,
        inline_bytes_max: u64,
    ) -> Result<Vec<EndBefore>, StorageError> {
        let ends = self
            .inner
            .ends_before(tenant, node, before, inline_bytes_max);
        let mut ends = ends.await?;
        ends.iter_mut()
            .try_for_each(|end| self.open_end(tenant, end))?;
        Ok(ends)
    }

    async fn park(
        &self,
        held: HeldNode,
        mut park: Park,
        bounds: Bounds,
        now: Timestamp,
    ) -> Result<Parking, StorageError> {
        match &mut park {
            Park::Instances { nodes, at_once: _ } => self.keep_nodes(nodes)?,
            Park::Signal { .. } | Park::Paused => {}
        }
        self.inner.park(held, park, bounds, now).await
    }

    async fn signal_workflow(
        &self,
        whose: &Whose,
        id: WorkflowId,
        mut signal: NewSignal,
        now: Timestamp,
    ) -> Result<Signalled, StorageError> {
        let Some(tenant) = self.tenant_of(whose, id).await? else {
            return Ok(Signalled::Unknown);
        };
        let row = Row::workflow(&self.sealer, &tenant, id);
        signal.payload.body = row.keep_signal(&signal.payload.body);
        self.inner.signal_workflow(whose, id, signal, now).await
    }

    async fn cancel_workflow(
        &self,
        whose: &Whose,
        id: WorkflowId,
        now: Timestamp,
    ) -> Result<CancelledWorkflow, StorageError> {
        self.inner.cancel_workflow(whose, id, now).await
    }

    async fn pause_workflow(
        &self,
        whose: &Whose,
        id: WorkflowId,
        paused: bool,
        now: Timestamp,
    ) -> Result<PausedWorkflow, StorageError> {
        self.inner.pause_workflow(whose, id, paused, now).await
    }

    async fn retry_workflow(
        &self,
        whose: &Whose,
        id: WorkflowId,
        retry: Retry,
        now: Timestamp,
    ) -> Result<RetriedWorkflow, StorageError> {
        self.inner.retry_workflow(whose, id, retry, now).await
    }

    async fn repair_workflows(
        &self,
        unchanged_since: Timestamp,
        limit: u32,
        now: Timestamp,
    ) -> Result<u64, StorageError> {
        self.inner
            .repair_workflows(unchanged_since, limit, now)
            .await
    }
}
