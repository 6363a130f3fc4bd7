//! [`Reads`] of what a backend has sealed.

use async_trait::async_trait;

use super::Sealed;
use super::values::Row;
use crate::seal::is_marked;
use crate::{Batch, Counts, Holdings, IdPage, Reads, StorageError, TaskFilter, TaskPage};
use cofferdam_domain::attempt::{Attempt, Captured, Payload, Stream, WorkerId};
use cofferdam_domain::batch::BatchId;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{Task, TaskId, TaskSpec};
use cofferdam_domain::whose::Whose;
use cofferdam_domain::worker::Worker;

impl Sealed<dyn Reads> {
    fn open_task(&self, mut task: Task) -> Result<Task, StorageError> {
        if !task.progress_note.is_empty() {
            let row = Row::task(&self.sealer, &task.tenant, task.id);
            task.progress_note = row.open_note(&task.progress_note)?;
        }
        let ended = newest_ended(&task);
        if let Some(failure) = &mut task.failure {
            Row::attempt(&self.sealer, &task.tenant, task.id, ended).open_failure(failure)?;
        }
        Ok(task)
    }

    fn open_attempt(
        &self,
        tenant: &Tenant,
        id: TaskId,
        mut attempt: Attempt,
    ) -> Result<Attempt, StorageError> {
        if let Some(failure) = &mut attempt.failure {
            Row::attempt(&self.sealer, tenant, id, attempt.number).open_failure(failure)?;
        }
        Ok(attempt)
    }

    /// Whose a task is, if it is known to be there.
    async fn tenant_of(&self, whose: &Whose, id: TaskId) -> Result<Option<Tenant>, StorageError> {
        match whose {
            Whose::One(tenant) => Ok(Some(tenant.clone())),
            Whose::All => Ok(self.inner.task(whose, id).await?.map(|task| task.tenant)),
        }
    }
}

/// The number of a task's newest attempt that has ended.
fn newest_ended(task: &Task) -> u32 {
    task.attempt - u32::from(task.state == TaskState::Running)
}

#[async_trait]
impl Reads for Sealed<dyn Reads> {
    async fn task(&self, whose: &Whose, id: TaskId) -> Result<Option<Task>, StorageError> {
        let task = self.inner.task(whose, id).await?;
        task.map(|task| self.open_task(task)).transpose()
    }

    async fn some_tasks(&self, ids: Vec<TaskId>) -> Result<Vec<Task>, StorageError> {
        let tasks = self.inner.some_tasks(ids).await?.into_iter();
        tasks.map(|task| self.open_task(task)).collect()
    }

    async fn task_spec(&self, whose: &Whose, id: TaskId) -> Result<Option<TaskSpec>, StorageError> {
        let Some(mut spec) = self.inner.task_spec(whose, id).await? else {
            return Ok(None);
        };
        let Some(tenant) = self.tenant_of(whose, id).await? else {
            return Ok(None);
        };
        Row::spec(&self.sealer, &tenant, id).open_spec(&mut spec)?;
        Ok(Some(spec))
    }

    async fn tasks(
        &self,
        tenant: &Tenant,
        filter: &TaskFilter,
        limit: u32,
    ) -> Result<TaskPage, StorageError> {
        let mut page = self.inner.tasks(tenant, filter, limit).await?;
        let tasks = page.tasks.into_iter().map(|task| self.open_task(task));
        page.tasks = tasks.collect::<Result<_, _>>()?;
        Ok(page)
    }

    async fn task_ids(
        &self,
        tenant: &Tenant,
        filter: &TaskFilter,
        limit: u32,
    ) -> Result<IdPage, StorageError> {
        self.inner.task_ids(tenant, filter, limit).await
    }

    async fn batch(&self, whose: &Whose, id: BatchId) -> Result<Option<Batch>, StorageError> {
        self.inner.batch(whose, id).await
    }

    async fn open_tasks(&self, whose: &Whose, id: BatchId) -> Result<Vec<TaskId>, StorageError> {
        self.inner.open_tasks(whose, id).await
    }

    async fn result(&self, whose: &Whose, id: TaskId) -> Result<Option<Payload>, StorageError> {
        let Some(mut payload) = self.inner.result(whose, id).await? else {
            return Ok(None);
        };
        if is_marked(&payload.body) {
            let Some(task) = self.inner.task(whose, id).await? else {
                return Ok(None);
            };
            let row = Row::attempt(&self.sealer, &task.tenant, id, newest_ended(&task));
            payload.body = row.open_output(&payload.body)?;
        }
        Ok(Some(payload))
    }

    async fn stream(
        &self,
        whose: &Whose,
        id: TaskId,
        attempt: Option<u32>,
        stream: Stream,
    ) -> Result<Option<Captured>, StorageError> {
        let Some(captured) = self.inner.stream(whose, id, attempt, stream).await? else {
            return Ok(None);
        };
        if !is_marked(&captured.bytes) {
            return Ok(Some(captured));
        }
        let Some(task) = self.inner.task(whose, id).await? else {
            return Ok(None);
        };
        let number = attempt.unwrap_or_else(|| newest_ended(&task));
        let row = Row::attempt(&self.sealer, &task.tenant, id, number);
        row.open_stream(stream, captured).map(Some)
    }

    async fn attempt(
        &self,
        whose: &Whose,
        id: TaskId,
        number: Option<u32>,
    ) -> Result<Option<Attempt>, StorageError> {
        let attempt = self.inner.attempt(whose, id, number).await?;
        let Some(attempt) = attempt else {
            return Ok(None);
        };
        let tenant = self.tenant_of(whose, id).await?;
        tenant
            .map(|tenant| self.open_attempt(&tenant, id, attempt))
            .transpose()
    }

    async fn attempts(
        &self,
        whose: &Whose,
        id: TaskId,
        after: u32,
        limit: u32,
    ) -> Result<Vec<Attempt>, StorageError> {
        let attempts = self.inner.attempts(whose, id, after, limit).await?;
        let Some(tenant) = self.tenant_of(whose, id).await? else {
            return Ok(Vec::new());
        };
        let attempts = attempts.into_iter();
        attempts
            .map(|attempt| self.open_attempt(&tenant, id, attempt))
            .collect()
    }

    async fn worker(&self, id: WorkerId) -> Result<Option<Worker>, StorageError> {
        self.inner.worker(id).await
    }

    async fn workers(
        &self,
        after: Option<WorkerId>,
        limit: u32,
    ) -> Result<Vec<Worker>, StorageError> {
        self.inner.workers(after, limit).await
    }

    async fn counts(&self, whose: &Whose) -> Result<Counts, StorageError> {
        self.inner.counts(whose).await
    }

    async fn holdings(&self, tenant: &Tenant) -> Result<Holdings, StorageError> {
        self.inner.holdings(tenant).await
    }

    async fn database_bytes(&self) -> Result<Option<(u64, u64)>, StorageError> {
        self.inner.database_bytes().await
    }

    async fn ping(&self) -> Result<(), StorageError> {
        self.inner.ping().await
    }
}
