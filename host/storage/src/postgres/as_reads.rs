//! The backend as [`Reads`].

use async_trait::async_trait;
use futures_util::FutureExt;

use super::tx::{Mode, reading};
use super::{PostgresStorage, batch, change, counters, list, spec, tasks, workers};
use crate::{Batch, Counts, IdPage, Reads, StorageError, TaskFilter, TaskPage};
use cofferdam_domain::attempt::{Attempt, Captured, Payload, Stream, WorkerId};
use cofferdam_domain::batch::BatchId;
use cofferdam_domain::task::{Task, TaskId, TaskSpec};
use cofferdam_domain::worker::Worker;

#[async_trait]
impl Reads for PostgresStorage {
    async fn task(&self, id: TaskId) -> Result<Option<Task>, StorageError> {
        self.read(move |call| async move { reading!(call, tx, tasks::task(&mut tx, id)) }.boxed())
            .await
    }

    async fn some_tasks(&self, ids: Vec<TaskId>) -> Result<Vec<Task>, StorageError> {
        self.read(move |call| {
            let ids = ids.clone();
            async move { reading!(call, tx, tasks::named(&mut tx, ids)) }.boxed()
        })
        .await
    }

    async fn task_spec(&self, id: TaskId) -> Result<Option<TaskSpec>, StorageError> {
        self.read(move |call| {
            async move { reading!(call, tx, spec::task_spec(&mut tx, id)) }.boxed()
        })
        .await
    }

    async fn tasks(&self, filter: &TaskFilter, limit: u32) -> Result<TaskPage, StorageError> {
        let filter = filter.clone();
        self.read(move |call| {
            let filter = filter.clone();
            async move { list::tasks(&call, &filter, limit).await }.boxed()
        })
        .await
    }

    async fn task_ids(&self, filter: &TaskFilter, limit: u32) -> Result<IdPage, StorageError> {
        let filter = filter.clone();
        self.read(move |call| {
            let filter = filter.clone();
            async move { reading!(call, tx, list::task_ids(&mut tx, &filter, limit)) }.boxed()
        })
        .await
    }

    async fn batch(&self, id: BatchId) -> Result<Option<Batch>, StorageError> {
        self.read(move |call| async move { reading!(call, tx, batch::batch(&mut tx, id)) }.boxed())
            .await
    }

    async fn open_tasks(&self, id: BatchId) -> Result<Vec<TaskId>, StorageError> {
        self.read(move |call| {
            async move { reading!(call, tx, batch::open_tasks(&mut tx, id)) }.boxed()
        })
        .await
    }

    async fn result(&self, id: TaskId) -> Result<Option<Payload>, StorageError> {
        let found = self
            .read(move |call| async move { reading!(call, tx, tasks::result(&mut tx, id)) }.boxed())
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
        id: TaskId,
        attempt: Option<u32>,
        stream: Stream,
    ) -> Result<Option<Captured>, StorageError> {
        self.read(move |call| {
            async move { reading!(call, tx, tasks::stream(&mut tx, id, attempt, stream)) }.boxed()
        })
        .await
    }

    async fn attempt(
        &self,
        id: TaskId,
        number: Option<u32>,
    ) -> Result<Option<Attempt>, StorageError> {
        self.read(move |call| {
            async move { reading!(call, tx, tasks::attempt(&mut tx, id, number)) }.boxed()
        })
        .await
    }

    async fn attempts(
        &self,
        id: TaskId,
        after: u32,
        limit: u32,
    ) -> Result<Vec<Attempt>, StorageError> {
        self.read(move |call| {
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

    async fn counts(&self) -> Result<Counts, StorageError> {
        self.read(move |call| async move { reading!(call, tx, counters::counts(&mut tx)) }.boxed())
            .await
    }

    async fn ping(&self) -> Result<(), StorageError> {
        self.write(move |call| async move { change::ping(&call).await }.boxed())
            .await
    }
}
