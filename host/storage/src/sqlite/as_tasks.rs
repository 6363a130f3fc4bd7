//! The backend as [`Tasks`]: decides which calls go to the writer and which to the readers.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;

use super::beside::Fresh;
use super::{
    SqliteStorage, batch, change, claim, cpu, finish, insert, lanes, prune, rescue, tasks, workers,
    workflows,
};
use crate::blocking::blocking;
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

#[async_trait]
impl Tasks for SqliteStorage {
    async fn insert_tasks(
        &self,
        tasks: Vec<NewTask>,
        bounds: Bounds,
        now: Timestamp,
    ) -> Result<Vec<Inserted>, StorageError> {
        self.writer
            .call_for(tasks.len(), move |db| {
                insert::insert_tasks(db, &tasks, bounds, now)
            })
            .await
    }

    async fn insert_batch(
        &self,
        batch: NewBatch,
        tasks: Vec<NewTask>,
        bounds: Bounds,
        now: Timestamp,
    ) -> Result<InsertedBatch, StorageError> {
        self.writer
            .call_for(tasks.len(), move |db| {
                batch::insert_batch(db, &batch, &tasks, bounds, now)
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
        self.writer
            .call_for(rows(slots), move |db| {
                claim::claim(db, worker, slots, order, now)
            })
            .await
    }

    async fn record(
        &self,
        ends: Vec<AttemptEnd>,
        heir: Option<Heir>,
    ) -> Result<Recorded, StorageError> {
        let ends = match ends.iter().all(|end| large_output(end).is_none()) {
            true => ends.into_iter().map(|end| (end, None)).collect(),
            false => self.put_large(ends).await?,
        };
        self.writer
            .call_for(ends.len(), move |db| finish::record(db, &ends, heir))
            .await
    }

    async fn report_progress(
        &self,
        reports: Vec<Progress>,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        self.writer
            .call_for(reports.len(), move |db| {
                finish::report_progress(db, &reports, now)
            })
            .await
    }

    async fn cancel(
        &self,
        whose: &Whose,
        id: TaskId,
        now: Timestamp,
    ) -> Result<Cancelled, StorageError> {
        let whose = whose.clone();
        self.writer
            .call(move |db| workflows::cancel_task(db, &whose, id, now))
            .await
    }

    async fn retry(
        &self,
        whose: &Whose,
        id: TaskId,
        now: Timestamp,
    ) -> Result<Retried, StorageError> {
        let whose = whose.clone();
        self.writer
            .call(move |db| change::retry(db, &whose, id, now))
            .await
    }

    async fn cancel_all(
        &self,
        whose: &Whose,
        ids: Vec<TaskId>,
        now: Timestamp,
    ) -> Result<Vec<Cancelled>, StorageError> {
        let whose = whose.clone();
        self.writer
            .call_for(ids.len(), move |db| {
                let each = ids.iter();
                let each = each.map(|id| workflows::cancel_task(db, &whose, *id, now));
                each.collect()
            })
            .await
    }

    async fn retry_all(
        &self,
        whose: &Whose,
        ids: Vec<TaskId>,
        now: Timestamp,
    ) -> Result<Vec<Retried>, StorageError> {
        let whose = whose.clone();
        self.writer
            .call_for(ids.len(), move |db| {
                let each = ids.iter().map(|id| change::retry(db, &whose, *id, now));
                each.collect()
            })
            .await
    }

    async fn cancel_requests(&self, worker: WorkerId) -> Result<Vec<TaskId>, StorageError> {
        self.readers
            .call(move |conn| tasks::cancel_requests(conn, worker))
            .await
    }

    async fn held(&self, worker: WorkerId) -> Result<Vec<HeldTask>, StorageError> {
        self.readers
            .call(move |conn| tasks::held(conn, worker))
            .await
    }

    async fn next_run_at(&self, worker: WorkerId) -> Result<Option<Timestamp>, StorageError> {
        let (rules, serving) = (self.rules.clone(), Arc::clone(&self.serving));
        self.readers
            .call(move |conn| lanes::next_run_at(conn, &serving, worker, &rules))
            .await
    }

    async fn heartbeat(&self, beat: Beat, now: Timestamp) -> Result<Asked, StorageError> {
        self.serving.heard(&beat);
        self.writer
            .call(move |db| workers::heartbeat(db, &beat, now))
            .await
    }

    async fn use_cpu(
        &self,
        day: i64,
        used: Vec<(Tenant, u64)>,
    ) -> Result<Vec<(Tenant, u64)>, StorageError> {
        self.writer
            .call(move |db| cpu::use_cpu(&db.conn, day, &used))
            .await
    }

    fn hold_back(&self, tenants: HashSet<Tenant>) -> bool {
        self.serving.hold_back(tenants)
    }

    async fn ask_to_drain(
        &self,
        worker: WorkerId,
        drain: bool,
    ) -> Result<Option<Worker>, StorageError> {
        self.writer
            .call(move |db| workers::ask_to_drain(db, worker, drain))
            .await
    }

    async fn rescue(
        &self,
        me: WorkerId,
        dead_before: Timestamp,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<Rescued>, StorageError> {
        self.writer
            .call_for(rows(limit), move |db| {
                rescue::rescue(db, me, dead_before, limit, now)
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
        let (pruned, blobs) = self
            .writer
            .call_for(rows(limit), move |db| {
                prune::prune(db, finished_before, keep_max, limit, now)
            })
            .await?;
        self.beside.remove(&self.readers, blobs).await;
        Ok(pruned)
    }

    async fn purge(&self, whose: &Whose, id: TaskId) -> Result<Purged, StorageError> {
        let whose = whose.clone();
        let (purged, blobs) = self
            .writer
            .call(move |db| prune::purge(db, &whose, id))
            .await?;
        self.beside.remove(&self.readers, blobs).await;
        Ok(purged)
    }

    async fn purge_some(&self, tenant: &Tenant, limit: u32) -> Result<Pruned, StorageError> {
        let tenant = tenant.clone();
        let (pruned, blobs) = self
            .writer
            .call_for(rows(limit), move |db| prune::purge_some(db, &tenant, limit))
            .await?;
        self.beside.remove(&self.readers, blobs).await;
        Ok(pruned)
    }

    async fn orphans(
        &self,
        blobs: Vec<BlobId>,
        tasks: Vec<TaskId>,
    ) -> Result<Orphans, StorageError> {
        self.readers
            .call(move |conn| prune::orphans(conn, blobs, tasks))
            .await
    }
}

impl SqliteStorage {
    /// Puts large outputs beside the database.
    async fn put_large(
        &self,
        ends: Vec<AttemptEnd>,
    ) -> Result<Vec<(AttemptEnd, Option<Fresh>)>, StorageError> {
        let putting = self.beside.begin().await;
        let put = move |end: AttemptEnd| {
            let output = large_output(&end)
                .map(|body| putting.put(body))
                .transpose()?;
            Ok((end, output))
        };
        blocking(move || ends.into_iter().map(put).collect()).await
    }
}

/// A limit as a number of rows.
fn rows(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
