//! The backend as [`Tasks`].

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;

use super::blobs::Outage;
use super::call::Call;
use super::insert::Submission;
use super::tx::{Mode, reading};
use super::{
    PostgresStorage, batch, change, claim, cpu, finish, lanes, prune, rescue, tasks as reads,
    workers, workflows,
};
use crate::blobs::content::Content;
use crate::{
    Asked, Bounds, Cancelled, Heir, HeldTask, Inserted, InsertedBatch, Orphans, Progress, Pruned,
    Purged, Recorded, Rescued, Retried, StorageError, Tasks, large_output,
};
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::batch::NewBatch;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::claim::{AttemptEnd, Claim};
use cofferdam_domain::task::{BlobId, ClaimOrder, NewTask, TaskId};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;
use cofferdam_domain::worker::{Beat, Worker};

/// Tasks claimed or rescued in one call at most: each change of a transaction has a number of its own.
const AT_ONCE_MAX: u32 = 100_000;

#[async_trait]
impl Tasks for PostgresStorage {
    async fn insert_tasks(
        &self,
        tasks: Vec<NewTask>,
        bounds: Bounds,
        now: Timestamp,
    ) -> Result<Vec<Inserted>, StorageError> {
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        let submission = Submission { tasks, bounds, now };
        self.submitter.insert(submission).await
    }

    async fn insert_batch(
        &self,
        batch: NewBatch,
        tasks: Vec<NewTask>,
        bounds: Bounds,
        now: Timestamp,
    ) -> Result<InsertedBatch, StorageError> {
        let submission = Submission { tasks, bounds, now };
        let whose = Whose::One(batch.tenant.clone());
        let wanted = Arc::new((batch, submission));
        self.write_of(&whose, move |call| {
            let wanted = Arc::clone(&wanted);
            async move { batch::insert_batch(&call, &wanted.0, &wanted.1).await }.boxed()
        })
        .await
    }

    async fn claim(
        &self,
        worker: WorkerId,
        slots: u32,
        order: ClaimOrder,
        now: Timestamp,
    ) -> Result<Vec<Claim>, StorageError> {
        let slots = slots.min(AT_ONCE_MAX);
        if self.db.lanes.begins_dear_look() {
            let call = Call::new(&self.db, self.db.read_timeout);
            self.engine.keep(lanes::look_dearly(call));
        }
        self.write(move |call| {
            async move { claim::claim(&call, worker, slots, order, now).await }.boxed()
        })
        .await
    }

    async fn record(
        &self,
        ends: Vec<AttemptEnd>,
        heir: Option<Heir>,
    ) -> Result<Recorded, StorageError> {
        let heir = heir.map(|heir| Heir {
            slots: heir.slots.min(AT_ONCE_MAX),
            ..heir
        });
        let mut told = Vec::with_capacity(ends.len());
        for end in ends {
            let output = match large_output(&end) {
                None => None,
                Some(body) => {
                    let content = Content::of_bytes(body.clone()).await?;
                    Some(self.put_blob(&content, Outage::Database).await?)
                }
            };
            told.push((end, output));
        }
        let told = Arc::new(told);
        self.write(move |call| {
            let told = Arc::clone(&told);
            async move { finish::record(&call, &told, heir).await }.boxed()
        })
        .await
    }

    async fn report_progress(
        &self,
        reports: Vec<Progress>,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let reports = Arc::new(reports);
        self.write(move |call| {
            let reports = Arc::clone(&reports);
            async move { finish::report_progress(&call, &reports, now).await }.boxed()
        })
        .await
    }

    async fn cancel(
        &self,
        whose: &Whose,
        id: TaskId,
        now: Timestamp,
    ) -> Result<Cancelled, StorageError> {
        let told = self.cancel_all(whose, vec![id], now).await?;
        Ok(told.into_iter().next().unwrap_or(Cancelled::Unknown))
    }

    async fn retry(
        &self,
        whose: &Whose,
        id: TaskId,
        now: Timestamp,
    ) -> Result<Retried, StorageError> {
        let told = self.retry_all(whose, vec![id], now).await?;
        Ok(told.into_iter().next().unwrap_or(Retried::Unknown))
    }

    async fn cancel_all(
        &self,
        whose: &Whose,
        ids: Vec<TaskId>,
        now: Timestamp,
    ) -> Result<Vec<Cancelled>, StorageError> {
        let ids: Arc<[TaskId]> = ids.into();
        let cancelled = self.write_of(whose, move |call| {
            let ids = Arc::clone(&ids);
            async move { change::cancel_all(&call, &ids, now).await }.boxed()
        });
        let (cancelled, nodes) = cancelled.await?;
        if !nodes.is_empty() {
            // Repeated alone: a second try of the cancel finds the nodes final, and no nodes below them.
            self.write_of(whose, move |call| {
                let nodes = nodes.clone();
                async move { workflows::cancel_instances(&call, nodes, now).await }.boxed()
            })
            .await?;
        }
        Ok(cancelled)
    }

    async fn retry_all(
        &self,
        whose: &Whose,
        ids: Vec<TaskId>,
        now: Timestamp,
    ) -> Result<Vec<Retried>, StorageError> {
        let ids: Arc<[TaskId]> = ids.into();
        self.write_of(whose, move |call| {
            let ids = Arc::clone(&ids);
            async move { change::retry_all(&call, &ids, now).await }.boxed()
        })
        .await
    }

    async fn cancel_requests(&self, worker: WorkerId) -> Result<Vec<TaskId>, StorageError> {
        self.read(move |call| {
            async move { reading!(call, tx, reads::cancel_requests(&mut tx, worker)) }.boxed()
        })
        .await
    }

    async fn held(&self, worker: WorkerId) -> Result<Vec<HeldTask>, StorageError> {
        self.read(move |call| {
            async move { reading!(call, tx, reads::held(&mut tx, worker)) }.boxed()
        })
        .await
    }

    async fn next_run_at(&self, worker: WorkerId) -> Result<Option<Timestamp>, StorageError> {
        self.read(move |call| {
            async move { reading!(call, tx, lanes::next_run_at(&mut tx, worker)) }.boxed()
        })
        .await
    }

    async fn heartbeat(&self, beat: Beat, now: Timestamp) -> Result<Asked, StorageError> {
        self.db.serving.heard(&beat);
        self.write(move |call| {
            let beat = beat.clone();
            async move { workers::heartbeat(&call, &beat, now).await }.boxed()
        })
        .await
    }

    async fn use_cpu(
        &self,
        day: i64,
        used: Vec<(Tenant, u64)>,
    ) -> Result<Vec<(Tenant, u64)>, StorageError> {
        self.write(move |call| {
            let used = used.clone();
            async move { cpu::use_cpu(&call, day, &used).await }.boxed()
        })
        .await
    }

    fn hold_back(&self, tenants: HashSet<Tenant>) -> bool {
        self.db.serving.hold_back(tenants)
    }

    async fn ask_to_drain(
        &self,
        worker: WorkerId,
        drain: bool,
    ) -> Result<Option<Worker>, StorageError> {
        self.write(move |call| {
            async move { workers::ask_to_drain(&call, worker, drain).await }.boxed()
        })
        .await
    }

    async fn rescue(
        &self,
        me: WorkerId,
        dead_before: Timestamp,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<Rescued>, StorageError> {
        let limit = limit.min(AT_ONCE_MAX);
        self.write(move |call| {
            async move { rescue::rescue(&call, me, dead_before, limit, now).await }.boxed()
        })
        .await
    }

    async fn prune(
        &self,
        finished_before: Timestamp,
        keep_max: u64,
        limit: u32,
        now: Timestamp,
    ) -> Result<Pruned, StorageError> {
        let pruning = self.write(move |call| {
            async move { prune::prune(&call, finished_before, keep_max, limit, now).await }.boxed()
        });
        let pruned = pruning.await?;
        if let Err(error) = self.sweep_blobs().await {
            tracing::warn!(%error, "bytes that nothing refers to were left behind");
        }
        Ok(pruned)
    }

    async fn purge(&self, whose: &Whose, id: TaskId) -> Result<Purged, StorageError> {
        self.write_of(whose, move |call| {
            async move { prune::purge(&call, id).await }.boxed()
        })
        .await
    }

    async fn purge_some(&self, tenant: &Tenant, limit: u32) -> Result<Pruned, StorageError> {
        let limit = limit.min(AT_ONCE_MAX);
        self.write_of(&Whose::One(tenant.clone()), move |call| {
            async move { prune::purge_some(&call, limit).await }.boxed()
        })
        .await
    }

    async fn orphans(
        &self,
        blobs: Vec<BlobId>,
        tasks: Vec<TaskId>,
    ) -> Result<Orphans, StorageError> {
        let owners = Arc::new((blobs, tasks));
        self.read(move |call| {
            let owners = Arc::clone(&owners);
            async move { reading!(call, tx, prune::orphans(&mut tx, &owners.0, &owners.1)) }.boxed()
        })
        .await
    }
}
