//! The backend as [`Reads`].

use async_trait::async_trait;

use super::{SqliteStorage, batch, list, quotas, spec, tasks, workers};
use crate::{Batch, Counts, Holdings, IdPage, Reads, StorageError, TaskFilter, TaskPage};
use cofferdam_domain::attempt::{Attempt, Captured, Payload, Stream, WorkerId};
use cofferdam_domain::batch::BatchId;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::task::{Task, TaskId, TaskSpec};
use cofferdam_domain::whose::Whose;
use cofferdam_domain::worker::Worker;

#[async_trait]
impl Reads for SqliteStorage {
    async fn task(&self, whose: &Whose, id: TaskId) -> Result<Option<Task>, StorageError> {
        let whose = whose.clone();
        self.readers
            .call(move |conn| tasks::task(conn, &whose, id))
            .await
    }

    async fn some_tasks(&self, ids: Vec<TaskId>) -> Result<Vec<Task>, StorageError> {
        self.readers
            .call(move |conn| tasks::some_tasks(conn, &ids))
            .await
    }

    async fn task_spec(&self, whose: &Whose, id: TaskId) -> Result<Option<TaskSpec>, StorageError> {
        let whose = whose.clone();
        self.readers
            .call(move |conn| spec::task_spec(conn, &whose, id))
            .await
    }

    async fn tasks(
        &self,
        tenant: &Tenant,
        filter: &TaskFilter,
        limit: u32,
    ) -> Result<TaskPage, StorageError> {
        let (tenant, filter) = (tenant.clone(), filter.clone());
        self.readers
            .call(move |conn| list::tasks(conn, &tenant, &filter, limit))
            .await
    }

    async fn task_ids(
        &self,
        tenant: &Tenant,
        filter: &TaskFilter,
        limit: u32,
    ) -> Result<IdPage, StorageError> {
        let (tenant, filter) = (tenant.clone(), filter.clone());
        self.readers
            .call(move |conn| list::task_ids(conn, &tenant, &filter, limit))
            .await
    }

    async fn batch(&self, whose: &Whose, id: BatchId) -> Result<Option<Batch>, StorageError> {
        let whose = whose.clone();
        self.readers
            .call(move |conn| batch::batch(conn, &whose, id))
            .await
    }

    async fn open_tasks(&self, whose: &Whose, id: BatchId) -> Result<Vec<TaskId>, StorageError> {
        let whose = whose.clone();
        self.readers
            .call(move |conn| batch::open_tasks(conn, &whose, id))
            .await
    }

    async fn result(&self, whose: &Whose, id: TaskId) -> Result<Option<Payload>, StorageError> {
        let whose = whose.clone();
        let found = self
            .readers
            .call(move |conn| tasks::result(conn, &whose, id))
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
        whose: &Whose,
        id: TaskId,
        attempt: Option<u32>,
        stream: Stream,
    ) -> Result<Option<Captured>, StorageError> {
        let whose = whose.clone();
        self.readers
            .call(move |conn| tasks::stream(conn, &whose, id, attempt, stream))
            .await
    }

    async fn attempt(
        &self,
        whose: &Whose,
        id: TaskId,
        number: Option<u32>,
    ) -> Result<Option<Attempt>, StorageError> {
        let whose = whose.clone();
        self.readers
            .call(move |conn| tasks::attempt(conn, &whose, id, number))
            .await
    }

    async fn attempts(
        &self,
        whose: &Whose,
        id: TaskId,
        after: u32,
        limit: u32,
    ) -> Result<Vec<Attempt>, StorageError> {
        let whose = whose.clone();
        self.readers
            .call(move |conn| tasks::attempts(conn, &whose, id, after, limit))
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

    async fn counts(&self, whose: &Whose) -> Result<Counts, StorageError> {
        let whose = whose.clone();
        self.readers
            .call(move |conn| tasks::counts(conn, &whose))
            .await
    }

    async fn holdings(&self, tenant: &Tenant) -> Result<Holdings, StorageError> {
        let tenant = tenant.clone();
        self.readers
            .call(move |conn| quotas::holdings(conn, &tenant))
            .await
    }

    async fn database_bytes(&self) -> Result<Option<(u64, u64)>, StorageError> {
        let budget = self.budget.clone();
        let usage = self.readers.call(move |conn| budget.usage(conn));
        usage.await.map(Some)
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
        self.readers
            .call(|conn| tasks::counts(conn, &Whose::All))
            .await
            .map(|_counts| ())
    }
}
