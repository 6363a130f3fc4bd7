//! The backend as [`Workflows`].

use async_trait::async_trait;

use super::{SqliteStorage, workflows};
use crate::{
    Before, Bounds, CancelledWorkflow, EndBefore, HeldNode, InsertedWorkflow, NewNode, NewSignal,
    NewWorkflow, Park, Parking, PausedWorkflow, RetriedWorkflow, Retry, Signalled, StorageError,
    WorkflowFilter, WorkflowNodes, WorkflowPage, Workflows,
};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::task::TaskId;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;
use cofferdam_domain::workflow::{WorkflowId, WorkflowState};

#[async_trait]
impl Workflows for SqliteStorage {
    async fn insert_workflow(
        &self,
        workflow: NewWorkflow,
        nodes: Vec<NewNode>,
        bounds: Bounds,
        now: Timestamp,
    ) -> Result<InsertedWorkflow, StorageError> {
        self.writer
            .call_for(nodes.len(), move |db| {
                workflows::insert_workflow(db, &workflow, &nodes, bounds, now)
            })
            .await
    }

    async fn workflow(
        &self,
        whose: &Whose,
        id: WorkflowId,
    ) -> Result<Option<WorkflowNodes>, StorageError> {
        let whose = whose.clone();
        self.readers
            .call(move |conn| workflows::workflow(conn, &whose, id))
            .await
    }

    async fn workflow_state(
        &self,
        whose: &Whose,
        id: WorkflowId,
    ) -> Result<Option<WorkflowState>, StorageError> {
        let whose = whose.clone();
        self.readers
            .call(move |conn| workflows::state(conn, &whose, id))
            .await
    }

    async fn workflow_definition(
        &self,
        whose: &Whose,
        id: WorkflowId,
    ) -> Result<Option<String>, StorageError> {
        let whose = whose.clone();
        self.readers
            .call(move |conn| workflows::definition(conn, &whose, id))
            .await
    }

    async fn workflows(
        &self,
        tenant: &Tenant,
        filter: &WorkflowFilter,
        limit: u32,
    ) -> Result<WorkflowPage, StorageError> {
        let (tenant, filter) = (tenant.clone(), filter.clone());
        self.readers
            .call(move |conn| workflows::list(conn, &tenant, &filter, limit))
            .await
    }

    async fn ends_before(
        &self,
        tenant: &Tenant,
        node: TaskId,
        before: Before,
        inline_bytes_max: u64,
    ) -> Result<Vec<EndBefore>, StorageError> {
        let tenant = tenant.clone();
        self.readers
            .call(move |conn| workflows::ends_before(conn, &tenant, node, before, inline_bytes_max))
            .await
    }

    async fn park(
        &self,
        held: HeldNode,
        park: Park,
        bounds: Bounds,
        now: Timestamp,
    ) -> Result<Parking, StorageError> {
        self.writer
            .call(move |db| workflows::park(db, &held, &park, bounds, now))
            .await
    }

    async fn signal_workflow(
        &self,
        whose: &Whose,
        id: WorkflowId,
        signal: NewSignal,
        now: Timestamp,
    ) -> Result<Signalled, StorageError> {
        let whose = whose.clone();
        self.writer
            .call(move |db| workflows::signal(db, &whose, id, &signal, now))
            .await
    }

    async fn cancel_workflow(
        &self,
        whose: &Whose,
        id: WorkflowId,
        now: Timestamp,
    ) -> Result<CancelledWorkflow, StorageError> {
        let whose = whose.clone();
        self.writer
            .call(move |db| workflows::cancel(db, &whose, id, now))
            .await
    }

    async fn pause_workflow(
        &self,
        whose: &Whose,
        id: WorkflowId,
        paused: bool,
        now: Timestamp,
    ) -> Result<PausedWorkflow, StorageError> {
        let whose = whose.clone();
        self.writer
            .call(move |db| workflows::pause(db, &whose, id, paused, now))
            .await
    }

    async fn retry_workflow(
        &self,
        whose: &Whose,
        id: WorkflowId,
        retry: Retry,
        now: Timestamp,
    ) -> Result<RetriedWorkflow, StorageError> {
        let whose = whose.clone();
        self.writer
            .call(move |db| workflows::retry(db, &whose, id, &retry, now))
            .await
    }

    async fn repair_workflows(
        &self,
        unchanged_since: Timestamp,
        limit: u32,
        now: Timestamp,
    ) -> Result<u64, StorageError> {
        self.writer
            .call(move |db| workflows::repair(db, unchanged_since, limit, now))
            .await
    }
}
