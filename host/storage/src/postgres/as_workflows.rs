//! The backend as [`Workflows`].

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;

use super::tx::{Mode, reading};
use super::workflows::{Parked, Wanted};
use super::{PostgresStorage, workflows};
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
impl Workflows for PostgresStorage {
    async fn insert_workflow(
        &self,
        workflow: NewWorkflow,
        nodes: Vec<NewNode>,
        bounds: Bounds,
        now: Timestamp,
    ) -> Result<InsertedWorkflow, StorageError> {
        let wanted = Wanted::new(workflow, nodes, bounds, now)?;
        self.workflows.insert(wanted).await
    }

    async fn workflow(
        &self,
        whose: &Whose,
        id: WorkflowId,
    ) -> Result<Option<WorkflowNodes>, StorageError> {
        self.read_of(whose, move |call| {
            async move { reading!(call, tx, workflows::workflow(&mut tx, id)) }.boxed()
        })
        .await
    }

    async fn workflow_state(
        &self,
        whose: &Whose,
        id: WorkflowId,
    ) -> Result<Option<WorkflowState>, StorageError> {
        self.read_of(whose, move |call| {
            async move { reading!(call, tx, workflows::state(&mut tx, id)) }.boxed()
        })
        .await
    }

    async fn workflow_definition(
        &self,
        whose: &Whose,
        id: WorkflowId,
    ) -> Result<Option<String>, StorageError> {
        self.read_of(whose, move |call| {
            async move { reading!(call, tx, workflows::definition(&mut tx, id)) }.boxed()
        })
        .await
    }

    async fn workflows(
        &self,
        tenant: &Tenant,
        filter: &WorkflowFilter,
        limit: u32,
    ) -> Result<WorkflowPage, StorageError> {
        let wanted = (tenant.clone(), filter.clone());
        self.read_of(&Whose::One(tenant.clone()), move |call| {
            let (tenant, filter) = wanted.clone();
            async move { reading!(call, tx, workflows::list(&mut tx, &tenant, &filter, limit)) }
                .boxed()
        })
        .await
    }

    async fn ends_before(
        &self,
        tenant: &Tenant,
        node: TaskId,
        before: Before,
        inline_bytes_max: u64,
    ) -> Result<Vec<EndBefore>, StorageError> {
        let own = tenant.clone();
        self.read_of(&Whose::One(tenant.clone()), move |call| {
            let own = own.clone();
            async move {
                reading!(
                    call,
                    tx,
                    workflows::ends_before(&mut tx, &own, node, before, inline_bytes_max)
                )
            }
            .boxed()
        })
        .await
    }

    async fn park(
        &self,
        held: HeldNode,
        park: Park,
        bounds: Bounds,
        now: Timestamp,
    ) -> Result<Parking, StorageError> {
        let whose = Whose::One(held.tenant.clone());
        let wanted = Arc::new((held, Parked::new(park, bounds, now)?));
        self.write_of(&whose, move |call| {
            let wanted = Arc::clone(&wanted);
            async move { workflows::park(&call, &wanted.0, &wanted.1, now).await }.boxed()
        })
        .await
    }

    async fn signal_workflow(
        &self,
        whose: &Whose,
        id: WorkflowId,
        signal: NewSignal,
        now: Timestamp,
    ) -> Result<Signalled, StorageError> {
        let signal = Arc::new(signal);
        self.write_of(whose, move |call| {
            let signal = Arc::clone(&signal);
            async move { workflows::signal(&call, id, &signal, now).await }.boxed()
        })
        .await
    }

    async fn cancel_workflow(
        &self,
        whose: &Whose,
        id: WorkflowId,
        now: Timestamp,
    ) -> Result<CancelledWorkflow, StorageError> {
        self.write_of(whose, move |call| {
            async move { workflows::cancel(&call, id, now).await }.boxed()
        })
        .await
    }

    async fn pause_workflow(
        &self,
        whose: &Whose,
        id: WorkflowId,
        paused: bool,
        now: Timestamp,
    ) -> Result<PausedWorkflow, StorageError> {
        self.write_of(whose, move |call| {
            async move { workflows::pause(&call, id, paused, now).await }.boxed()
        })
        .await
    }

    async fn retry_workflow(
        &self,
        whose: &Whose,
        id: WorkflowId,
        retry: Retry,
        now: Timestamp,
    ) -> Result<RetriedWorkflow, StorageError> {
        let retry = Arc::new(retry);
        self.write_of(whose, move |call| {
            let retry = Arc::clone(&retry);
            async move { workflows::retry(&call, id, &retry, now).await }.boxed()
        })
        .await
    }

    async fn repair_workflows(
        &self,
        unchanged_since: Timestamp,
        limit: u32,
        now: Timestamp,
    ) -> Result<u64, StorageError> {
        self.write(move |call| {
            async move { workflows::repair(&call, unchanged_since, limit, now).await }.boxed()
        })
        .await
    }
}
