//! Reads that meet with what was planned for them.

use async_trait::async_trait;

use super::{Call, Faulty};
use cofferdam_domain::attempt::{Attempt, Captured, Payload, Stream, WorkerId};
use cofferdam_domain::batch::BatchId;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::task::{Task, TaskId, TaskSpec};
use cofferdam_domain::whose::Whose;
use cofferdam_domain::worker::Worker;
use cofferdam_storage::{
    Batch, Counts, Holdings, IdPage, Reads, StorageError, TaskFilter, TaskPage,
};

#[async_trait]
impl Reads for Faulty {
    async fn task(&self, whose: &Whose, id: TaskId) -> Result<Option<Task>, StorageError> {
        self.through(Call::Task, self.reads.task(whose, id)).await
    }

    async fn some_tasks(&self, ids: Vec<TaskId>) -> Result<Vec<Task>, StorageError> {
        self.befall(None, self.reads.some_tasks(ids)).await
    }

    async fn task_spec(&self, whose: &Whose, id: TaskId) -> Result<Option<TaskSpec>, StorageError> {
        self.befall(None, self.reads.task_spec(whose, id)).await
    }

    async fn tasks(
        &self,
        tenant: &Tenant,
        filter: &TaskFilter,
        limit: u32,
    ) -> Result<TaskPage, StorageError> {
        self.befall(None, self.reads.tasks(tenant, filter, limit))
            .await
    }

    async fn task_ids(
        &self,
        tenant: &Tenant,
        filter: &TaskFilter,
        limit: u32,
    ) -> Result<IdPage, StorageError> {
        self.befall(None, self.reads.task_ids(tenant, filter, limit))
            .await
    }

    async fn batch(&self, whose: &Whose, id: BatchId) -> Result<Option<Batch>, StorageError> {
        self.befall(None, self.reads.batch(whose, id)).await
    }

    async fn open_tasks(&self, whose: &Whose, id: BatchId) -> Result<Vec<TaskId>, StorageError> {
        self.befall(None, self.reads.open_tasks(whose, id)).await
    }

    async fn result(&self, whose: &Whose, id: TaskId) -> Result<Option<Payload>, StorageError> {
        self.befall(None, self.reads.result(whose, id)).await
    }

    async fn stream(
        &self,
        whose: &Whose,
        id: TaskId,
        attempt: Option<u32>,
        stream: Stream,
    ) -> Result<Option<Captured>, StorageError> {
        self.befall(None, self.reads.stream(whose, id, attempt, stream))
            .await
    }

    async fn attempt(
        &self,
        whose: &Whose,
        id: TaskId,
        number: Option<u32>,
    ) -> Result<Option<Attempt>, StorageError> {
        self.befall(None, self.reads.attempt(whose, id, number))
            .await
    }

    async fn attempts(
        &self,
        whose: &Whose,
        id: TaskId,
        after: u32,
        limit: u32,
    ) -> Result<Vec<Attempt>, StorageError> {
        self.befall(None, self.reads.attempts(whose, id, after, limit))
            .await
    }

    async fn worker(&self, id: WorkerId) -> Result<Option<Worker>, StorageError> {
        self.befall(None, self.reads.worker(id)).await
    }

    async fn workers(
        &self,
        after: Option<WorkerId>,
        limit: u32,
    ) -> Result<Vec<Worker>, StorageError> {
        self.befall(None, self.reads.workers(after, limit)).await
    }

    async fn counts(&self, whose: &Whose) -> Result<Counts, StorageError> {
        self.befall(None, self.reads.counts(whose)).await
    }

    async fn holdings(&self, tenant: &Tenant) -> Result<Holdings, StorageError> {
        self.befall(None, self.reads.holdings(tenant)).await
    }

    async fn database_bytes(&self) -> Result<Option<(u64, u64)>, StorageError> {
        self.befall(None, self.reads.database_bytes()).await
    }

    async fn ping(&self) -> Result<(), StorageError> {
        self.befall(None, self.reads.ping()).await
    }
}
