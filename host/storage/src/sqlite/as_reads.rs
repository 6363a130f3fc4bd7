//! The backend as [`Reads`].

use async_trait::async_trait;

use super::{SqliteStorage, batch, list, spec, tasks, workers};
use crate::{Batch, Counts, IdPage, Reads, StorageError, TaskFilter, TaskPage};
use cofferdam_domain::attempt::{Attempt, Captured, Payload, Stream, WorkerId};
use cofferdam_domain::batch::BatchId;
use cofferdam_domain::task::{Task, TaskId, TaskSpec};
use cofferdam_domain::worker::Worker;

#[async_trait]
impl Reads for SqliteStorage {
    async fn task(&self, id: TaskId) -> Result<Option<Task>, StorageError> {
        self.readers.call(move |conn| tasks::task(conn, id)).await
    }

    async fn some_tasks(&self, ids: Vec<TaskId>) -> Result<Vec<Task>, StorageError> {
        self.readers
            .call(move |conn| tasks::some_tasks(conn, &ids))
            .await
    }

    async fn task_spec(&self, id: TaskId) -> Result<Option<TaskSpec>, StorageError> {
        self.readers
            .call(move |conn| spec::task_spec(conn, id))
            .await
    }

    async fn tasks(&self, filter: &TaskFilter, limit: u32) -> Result<TaskPage, StorageError> {
        let filter = filter.clone();
        self.readers
            .call(move |conn| list::tasks(conn, &filter, limit))
            .await
    }

    async fn task_ids(&self, filter: &TaskFilter, limit: u32) -> Result<IdPage, StorageError> {
        let filter = filter.clone();
        self.readers
            .call(move |conn| list::task_ids(conn, &filter, limit))
            .await
    }

    async fn batch(&self, id: BatchId) -> Result<Option<Batch>, StorageError> {
        self.readers.call(move |conn| batch::batch(conn, id)).await
    }

    async fn open_tasks(&self, id: BatchId) -> Result<Vec<TaskId>, StorageError> {
        self.readers
            .call(move |conn| batch::open_tasks(conn, id))
            .await
    }

    async fn result(&self, id: TaskId) -> Result<Option<Payload>, StorageError> {
        let found = self
            .readers
            .call(move |conn| tasks::result(conn, id))
            .await?;
        let Some(tasks::Output { content_type, body }) = found else {
            return Ok(None);
        };
        // A missing blob was pruned after the look-up, together with its task.
        let body = self.beside.get(body).await?;
        Ok(body.map(|body| Payload { content_type, body }))
    }

    async fn stream(
        &self,
        id: TaskId,
        attempt: Option<u32>,
        stream: Stream,
    ) -> Result<Option<Captured>, StorageError> {
        self.readers
            .call(move |conn| tasks::stream(conn, id, attempt, stream))
            .await
    }

    async fn attempt(
        &self,
        id: TaskId,
        number: Option<u32>,
    ) -> Result<Option<Attempt>, StorageError> {
        self.readers
            .call(move |conn| tasks::attempt(conn, id, number))
            .await
    }

    async fn attempts(
        &self,
        id: TaskId,
        after: u32,
        limit: u32,
    ) -> Result<Vec<Attempt>, StorageError> {
        self.readers
            .call(move |conn| tasks::attempts(conn, id, after, limit))
            .await
    }

    async fn worker(&self, id: WorkerId) -> Result<Option<Worker>, StorageError> {
        self.readers
            .call(move |conn| workers::worker(conn, id))
            .await
    }

    async fn workers(
        &self,
        after: Option<WorkerId>,
        limit: u32,
    ) -> Result<Vec<Worker>, StorageError> {
        self.readers
            .call(move |conn| workers::workers(conn, after, limit))
            .await
    }

    async fn counts(&self) -> Result<Counts, StorageError> {
        self.readers.call(tasks::counts).await
    }

    async fn ping(&self) -> Result<(), StorageError> {
        self.writer
            .call(|db| {
                db.conn
                    .prepare_cached("UPDATE ping SET n = 1 - n")?
                    .execute([])?;
                Ok(())
            })
            .await?;
        self.readers.call(tasks::counts).await.map(|_counts| ())
    }
}
