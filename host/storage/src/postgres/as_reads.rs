//! The backend as [`Reads`].

use async_trait::async_trait;
use futures_util::FutureExt;

use super::quotas::{self, Has};
use super::tx::{Mode, reading};
use super::{PostgresStorage, batch, change, counters, list, spec, tasks, workers};
use crate::{Batch, Counts, Holdings, IdPage, Reads, StorageError, TaskFilter, TaskPage};
use cofferdam_domain::attempt::{Attempt, Captured, Payload, Stream, WorkerId};
use cofferdam_domain::batch::BatchId;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::task::{Task, TaskId, TaskSpec};
use cofferdam_domain::whose::Whose;
use cofferdam_domain::worker::Worker;

#[async_trait]
impl Reads for PostgresStorage {
    async fn task(&self, whose: &Whose, id: TaskId) -> Result<Option<Task>, StorageError> {
        self.read_of(whose, move |call| {
            async move { reading!(call, tx, tasks::task(&mut tx, id)) }.boxed()
        })
        .await
    }

    async fn some_tasks(&self, ids: Vec<TaskId>) -> Result<Vec<Task>, StorageError> {
        self.read(move |call| {
            let ids = ids.clone();
            async move { reading!(call, tx, tasks::named(&mut tx, ids)) }.boxed()
        })
        .await
    }

    async fn task_spec(&self, whose: &Whose, id: TaskId) -> Result<Option<TaskSpec>, StorageError> {
        self.read_of(whose, move |call| {
            async move { reading!(call, tx, spec::task_spec(&mut tx, id)) }.boxed()
        })
        .await
    }

    async fn tasks(
        &self,
        tenant: &Tenant,
        filter: &TaskFilter,
        limit: u32,
    ) -> Result<TaskPage, StorageError> {
        let (whose, filter) = (Whose::One(tenant.clone()), filter.clone());
        let tenant = tenant.clone();
        self.read_of(&whose, move |call| {
            let (tenant, filter) = (tenant.clone(), filter.clone());
            async move { list::tasks(&call, &tenant, &filter, limit).await }.boxed()
        })
        .await
    }

    async fn task_ids(
        &self,
        tenant: &Tenant,
        filter: &TaskFilter,
        limit: u32,
    ) -> Result<IdPage, StorageError> {
        let (whose, filter) = (Whose::One(tenant.clone()), filter.clone());
        let tenant = tenant.clone();
        self.read_of(&whose, move |call| {
            let (tenant, filter) = (tenant.clone(), filter.clone());
            async move { reading!(call, tx, list::task_ids(&mut tx, &tenant, &filter, limit)) }
                .boxed()
        })
        .await
    }

    async fn batch(&self, whose: &Whose, id: BatchId) -> Result<Option<Batch>, StorageError> {
        self.read_of(whose, move |call| {
            async move { reading!(call, tx, batch::batch(&mut tx, id)) }.boxed()
        })
        .await
    }

    async fn open_tasks(&self, whose: &Whose, id: BatchId) -> Result<Vec<TaskId>, StorageError> {
        self.read_of(whose, move |call| {
            async move { reading!(call, tx, batch::open_tasks(&mut tx, id)) }.boxed()
        })
        .await
    }

    async fn result(&self, whose: &Whose, id: TaskId) -> Result<Option<Payload>, StorageError> {
        let found = self
            .read_of(whose, move |call| {
                async move { reading!(call, tx, tasks::result(&mut tx, id)) }.boxed()
            })
            .await?;
        match found {
            None => Ok(None),
            Some((payload, None)) => Ok(Some(payload)),
            Some((payload, Some(hash))) => {
                let body = self.blob_bytes(hash).await?;
                Ok(body.map(|body| Payload { body, ..payload }))
            }
        }
    }

    async fn stream(
        &self,
        whose: &Whose,
        id: TaskId,
        attempt: Option<u32>,
        stream: Stream,
    ) -> Result<Option<Captured>, StorageError> {
        self.read_of(whose, move |call| {
            async move { reading!(call, tx, tasks::stream(&mut tx, id, attempt, stream)) }.boxed()
        })
        .await
    }

    async fn attempt(
        &self,
        whose: &Whose,
        id: TaskId,
        number: Option<u32>,
    ) -> Result<Option<Attempt>, StorageError> {
        self.read_of(whose, move |call| {
            async move { reading!(call, tx, tasks::attempt(&mut tx, id, number)) }.boxed()
        })
        .await
    }

    async fn attempts(
        &self,
        whose: &Whose,
        id: TaskId,
        after: u32,
        limit: u32,
    ) -> Result<Vec<Attempt>, StorageError> {
        self.read_of(whose, move |call| {
            async move { reading!(call, tx, tasks::attempts(&mut tx, id, after, limit)) }.boxed()
        })
        .await
    }

    async fn worker(&self, id: WorkerId) -> Result<Option<Worker>, StorageError> {
        self.read(move |call| {
            async move { reading!(call, tx, workers::worker(&mut tx, id)) }.boxed()
        })
        .await
    }

    async fn workers(
        &self,
        after: Option<WorkerId>,
        limit: u32,
    ) -> Result<Vec<Worker>, StorageError> {
        self.read(move |call| {
            async move { reading!(call, tx, workers::workers(&mut tx, after, limit)) }.boxed()
        })
        .await
    }

    async fn counts(&self, whose: &Whose) -> Result<Counts, StorageError> {
        self.read_of(whose, move |call| {
            async move { reading!(call, tx, counters::counts(&mut tx)) }.boxed()
        })
        .await
    }

    async fn holdings(&self, tenant: &Tenant) -> Result<Holdings, StorageError> {
        let (tenant, whose) = (tenant.clone(), Whose::One(tenant.clone()));
        let has = self.read_of(&whose, move |call| {
            let tenant = tenant.clone();
            async move { reading!(call, tx, quotas::has(&mut tx, &tenant)) }.boxed()
        });
        let Has {
            waiting,
            kept_bytes,
        } = has.await?;
        Ok(Holdings {
            waiting,
            kept_bytes,
        })
    }

    async fn database_bytes(&self) -> Result<Option<(u64, u64)>, StorageError> {
        // Its server has other databases, and whoever operates that bounds it.
        Ok(None)
    }

    async fn ping(&self) -> Result<(), StorageError> {
        self.write(move |call| async move { change::ping(&call).await }.boxed())
            .await
    }
}
