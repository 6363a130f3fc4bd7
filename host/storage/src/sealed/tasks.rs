//! [`Tasks`] of which a backend sees sealed words alone.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::Sealed;
use super::values::Row;
use crate::blocking::blocking;
use crate::seal::Sealer;
use crate::{
    Asked, Bounds, Cancelled, Heir, HeldTask, Inserted, InsertedBatch, Orphans, Progress, Pruned,
    Purged, Recorded, Rescued, Retried, StorageError, Tasks, large_output,
};
use cofferdam_domain::attempt::{Failure, FailureKind, LeftOut, Outcome, Streams, Usage, WorkerId};
use cofferdam_domain::batch::NewBatch;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::claim::{AttemptEnd, Claim, Next};
use cofferdam_domain::task::{BlobId, ClaimOrder, NewTask, TaskId, TaskSpec};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;
use cofferdam_domain::worker::{Beat, Worker};
use cofferdam_domain::workflow::ParkedFor;

/// How long a task waits for a host that has the key it is sealed with.
const KEY_WAIT: Duration = Duration::from_secs(60);

impl Sealed<dyn Tasks> {
    fn keep_new(&self, tasks: &mut [NewTask]) -> Result<(), StorageError> {
        tasks.iter_mut().try_for_each(|task| {
            Row::spec(&self.sealer, &task.tenant, task.id).keep_spec(&mut task.spec)
        })
    }

    fn open_claim(&self, claim: &mut Claim) -> Result<(), StorageError> {
        let mut spec = TaskSpec::clone(&claim.spec);
        Row::spec(&self.sealer, &claim.tenant, claim.task_id).open_spec(&mut spec)?;
        claim.spec = Arc::new(spec);
        if let Some(node) = &mut claim.node {
            let row = Row::node(&self.sealer, &claim.tenant, claim.task_id);
            if let Some(plan) = &mut node.plan {
                *plan = row.open_words(plan)?;
            }
            let row = Row::workflow(&self.sealer, &claim.tenant, node.workflow);
            if let Some(ParkedFor::Signal(Some(payload))) = &mut node.parked {
                payload.body = row.open_signal(&payload.body)?;
            }
        }
        Ok(())
    }

    /// Opens what was claimed; what cannot be opened is given back or fails.
    async fn open_claims(&self, claimed: Vec<Claim>, now: Timestamp) -> Vec<Claim> {
        let (mut claims, mut unread) = (Vec::with_capacity(claimed.len()), Vec::new());
        for mut claim in claimed {
            match self.open_claim(&mut claim) {
                Ok(()) => claims.push(claim),
                Err(error) => unread.push(end_of_unread(&claim, &error, now)),
            }
        }
        // A claim whose end is not recorded here is held by nobody, and is rescued as such.
        if !unread.is_empty()
            && let Err(error) = self.inner.finish(unread).await
        {
            tracing::warn!(%error, "tasks that cannot be read were not given back");
        }
        claims
    }

    /// Seals ends; large ones on a thread that may be busy for long.
    async fn keep_ends(&self, mut ends: Vec<AttemptEnd>) -> Result<Vec<AttemptEnd>, StorageError> {
        let sealer = Arc::clone(&self.sealer);
        let is_long = ends.iter().any(|end| large_output(end).is_some());
        let keep = move || {
            ends.iter_mut().for_each(|end| keep_end(&sealer, end));
            ends
        };
        match is_long {
            true => blocking(move || Ok(keep())).await,
            false => Ok(keep()),
        }
    }
}

fn keep_end(sealer: &Sealer, end: &mut AttemptEnd) {
    let row = Row::attempt(sealer, &end.tenant, end.task_id, end.attempt);
    row.keep_end(&mut end.outcome, &mut end.streams);
}

/// What becomes of a claimed task that cannot be read: it waits for a host that has its key, and fails if it
/// is spoilt.
fn end_of_unread(claim: &Claim, error: &StorageError, now: Timestamp) -> AttemptEnd {
    tracing::error!(task = %claim.task_id, %error, "what was submitted of a claimed task cannot be read");
    let next = match matches!(error, StorageError::KeyMissing { .. }) {
        true => Next::Postpone(now.plus(KEY_WAIT)),
        false => Next::Fail,
    };
    let why = "the host could not read what was submitted; its log says why";
    AttemptEnd {
        task_id: claim.task_id,
        tenant: claim.tenant.clone(),
        attempt: claim.attempt,
        fence: claim.fence,
        workflow: claim.node.as_ref().map(|node| node.workflow),
        finished_at: now,
        outcome: Outcome::Failed(Failure::new(FailureKind::HostError, why)),
        usage: Usage::default(),
        streams: Streams::default(),
        artifacts: Vec::new(),
        left_out: LeftOut::default(),
        next,
    }
}

#[async_trait]
impl Tasks for Sealed<dyn Tasks> {
    async fn insert_tasks(
        &self,
        mut tasks: Vec<NewTask>,
        bounds: Bounds,
        now: Timestamp,
    ) -> Result<Vec<Inserted>, StorageError> {
        self.keep_new(&mut tasks)?;
        self.inner.insert_tasks(tasks, bounds, now).await
    }

    async fn insert_batch(
        &self,
        batch: NewBatch,
        mut tasks: Vec<NewTask>,
        bounds: Bounds,
        now: Timestamp,
    ) -> Result<InsertedBatch, StorageError> {
        self.keep_new(&mut tasks)?;
        self.inner.insert_batch(batch, tasks, bounds, now).await
    }

    async fn claim(
        &self,
        worker: WorkerId,
        slots: u32,
        order: ClaimOrder,
        now: Timestamp,
    ) -> Result<Vec<Claim>, StorageError> {
        let claimed = self.inner.claim(worker, slots, order, now).await?;
        Ok(self.open_claims(claimed, now).await)
    }

    async fn record(
        &self,
        ends: Vec<AttemptEnd>,
        heir: Option<Heir>,
    ) -> Result<Recorded, StorageError> {
        let ends = self.keep_ends(ends).await?;
        let recorded = self.inner.record(ends, heir).await?;
        let claims = match heir {
            None => recorded.claims,
            Some(heir) => self.open_claims(recorded.claims, heir.now).await,
        };
        Ok(Recorded { claims, ..recorded })
    }

    async fn report_progress(
        &self,
        mut reports: Vec<Progress>,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        for report in &mut reports {
            let row = Row::task(&self.sealer, &report.tenant, report.task_id);
            report.note = row.keep_note(&report.note);
        }
        self.inner.report_progress(reports, now).await
    }

    async fn cancel(
        &self,
        whose: &Whose,
        id: TaskId,
        now: Timestamp,
    ) -> Result<Cancelled, StorageError> {
        self.inner.cancel(whose, id, now).await
    }

    async fn retry(
        &self,
        whose: &Whose,
        id: TaskId,
        now: Timestamp,
    ) -> Result<Retried, StorageError> {
        self.inner.retry(whose, id, now).await
    }

    async fn cancel_all(
        &self,
        whose: &Whose,
        ids: Vec<TaskId>,
        now: Timestamp,
    ) -> Result<Vec<Cancelled>, StorageError> {
        self.inner.cancel_all(whose, ids, now).await
    }

    async fn retry_all(
        &self,
        whose: &Whose,
        ids: Vec<TaskId>,
        now: Timestamp,
    ) -> Result<Vec<Retried>, StorageError> {
        self.inner.retry_all(whose, ids, now).await
    }

    async fn cancel_requests(&self, worker: WorkerId) -> Result<Vec<TaskId>, StorageError> {
        self.inner.cancel_requests(worker).await
    }

    async fn held(&self, worker: WorkerId) -> Result<Vec<HeldTask>, StorageError> {
        self.inner.held(worker).await
    }

    async fn next_run_at(&self, worker: WorkerId) -> Result<Option<Timestamp>, StorageError> {
        self.inner.next_run_at(worker).await
    }

    async fn heartbeat(&self, beat: Beat, now: Timestamp) -> Result<Asked, StorageError> {
        self.inner.heartbeat(beat, now).await
    }

    async fn ask_to_drain(
        &self,
        worker: WorkerId,
        drain: bool,
    ) -> Result<Option<Worker>, StorageError> {
        self.inner.ask_to_drain(worker, drain).await
    }

    async fn use_cpu(
        &self,
        day: i64,
        used: Vec<(Tenant, u64)>,
    ) -> Result<Vec<(Tenant, u64)>, StorageError> {
        self.inner.use_cpu(day, used).await
    }

    fn hold_back(&self, tenants: HashSet<Tenant>) -> bool {
        self.inner.hold_back(tenants)
    }

    async fn rescue(
        &self,
        me: WorkerId,
        dead_before: Timestamp,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<Rescued>, StorageError> {
        self.inner.rescue(me, dead_before, limit, now).await
    }

    async fn prune(
        &self,
        finished_before: Timestamp,
        keep_max: u64,
        limit: u32,
        now: Timestamp,
    ) -> Result<Pruned, StorageError> {
        let pruned = self.inner.prune(finished_before, keep_max, limit, now);
        pruned.await
    }

    async fn purge(&self, whose: &Whose, id: TaskId) -> Result<Purged, StorageError> {
        self.inner.purge(whose, id).await
    }

    async fn purge_some(&self, tenant: &Tenant, limit: u32) -> Result<Pruned, StorageError> {
        self.inner.purge_some(tenant, limit).await
    }

    async fn orphans(
        &self,
        blobs: Vec<BlobId>,
        tasks: Vec<TaskId>,
    ) -> Result<Orphans, StorageError> {
        self.inner.orphans(blobs, tasks).await
    }
}
