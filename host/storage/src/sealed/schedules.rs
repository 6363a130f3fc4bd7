//! [`Schedules`] of which a backend sees sealed what they submit, and sealing that anew.

use std::sync::Arc;

use async_trait::async_trait;

use super::Sealed;
use crate::schedules::KeptSchedules;
use crate::seal::{Place, Sealer};
use crate::{PutSchedule, Resealed, Schedules, StorageError};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::schedule::{Firing, Plan, Schedule, ScheduleName, Scheduled};
use cofferdam_domain::time::Timestamp;

/// Schedules that are looked at together when keys have changed.
const BATCH: u32 = 50;

fn place<'a>(tenant: &'a Tenant, name: &'a ScheduleName) -> Place<'a> {
    Place {
        tenant: tenant.as_str(),
        column: ("schedule", "what"),
        row: name.as_str(),
    }
}

/// The schedule as it was put.
fn opened(sealer: &Sealer, mut schedule: Schedule) -> Result<Schedule, StorageError> {
    let place = place(&schedule.tenant, &schedule.name);
    let text = sealer.open_text(&place, schedule.plan.what.text())?;
    schedule.plan.what = saying(&schedule.plan.what, text);
    Ok(schedule)
}

/// The plan as it is kept.
fn sealed(sealer: &Sealer, (tenant, name): (&Tenant, &ScheduleName), plan: &Plan) -> Plan {
    let text = sealer.keep_text(&place(tenant, name), plan.what.text());
    Plan {
        what: saying(&plan.what, text),
        ..plan.clone()
    }
}

/// The same kind of work with another text.
fn saying(what: &Scheduled, text: String) -> Scheduled {
    match what {
        Scheduled::Task(_) => Scheduled::Task(text),
        Scheduled::Workflow(_) => Scheduled::Workflow(text),
    }
}

/// What schedules submit, whosever they are.
#[derive(Clone)]
pub struct SealedSchedules {
    kept: Arc<dyn KeptSchedules>,
    sealer: Arc<Sealer>,
}

impl SealedSchedules {
    pub(crate) fn new(kept: Arc<dyn KeptSchedules>, sealer: &Arc<Sealer>) -> SealedSchedules {
        let sealer = Arc::clone(sealer);
        SealedSchedules { kept, sealer }
    }

    /// Seals everything with the first key that is sealed with another one, or none, in small batches.
    pub async fn reseal(&self) -> Result<Resealed, StorageError> {
        let mut found = Resealed::default();
        let mut after = None;
        while let Some(begins) = self.sealer.begins() {
            let batch = self.kept.all_schedules(after, BATCH).await?;
            let Some(last) = batch.last() else { break };
            after = Some((last.tenant.clone(), last.name.clone()));
            for old in batch {
                if old.plan.what.text().contains(&begins.text) {
                    continue;
                }
                match opened(&self.sealer, old.clone()) {
                    Ok(plain) => {
                        let key = (&old.tenant, &old.name);
                        let plan = sealed(&self.sealer, key, &plain.plan);
                        self.kept.change_plan(&old, &plan).await?;
                        found.resealed += 1;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a schedule cannot be read");
                        found.unreadable += 1;
                    }
                }
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl Schedules for Sealed<dyn Schedules> {
    async fn put_schedule(
        &self,
        tenant: &Tenant,
        name: &ScheduleName,
        plan: &Plan,
        next_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<PutSchedule, StorageError> {
        let plan = sealed(&self.sealer, (tenant, name), plan);
        let put = self.inner.put_schedule(tenant, name, &plan, next_at, now);
        put.await
    }

    async fn find_schedule(
        &self,
        tenant: &Tenant,
        name: &ScheduleName,
    ) -> Result<Option<Schedule>, StorageError> {
        let found = self.inner.find_schedule(tenant, name).await?;
        found.map(|it| opened(&self.sealer, it)).transpose()
    }

    async fn list_schedules(
        &self,
        tenant: &Tenant,
        after: Option<&ScheduleName>,
        limit: u32,
    ) -> Result<Vec<Schedule>, StorageError> {
        let found = self.inner.list_schedules(tenant, after, limit).await?;
        let found = found.into_iter();
        found.map(|it| opened(&self.sealer, it)).collect()
    }

    async fn remove_schedule(
        &self,
        tenant: &Tenant,
        name: &ScheduleName,
    ) -> Result<bool, StorageError> {
        self.inner.remove_schedule(tenant, name).await
    }

    /// What cannot be opened is told as it is kept: no task is read of it, so that its instants pass and it is in
    /// nobody's way.
    async fn due_schedules(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Schedule>, StorageError> {
        let due = self.inner.due_schedules(now, limit).await?.into_iter();
        let due = due.map(|kept| match opened(&self.sealer, kept.clone()) {
            Ok(opened) => opened,
            Err(error) => {
                tracing::error!(%error, "what a schedule submits cannot be read");
                kept
            }
        });
        Ok(due.collect())
    }

    async fn fired(
        &self,
        schedule: &Schedule,
        last: Option<Firing>,
        next_at: Option<Timestamp>,
    ) -> Result<bool, StorageError> {
        self.inner.fired(schedule, last, next_at).await
    }
}
