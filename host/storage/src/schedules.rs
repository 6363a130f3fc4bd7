//! Schedules.

use async_trait::async_trait;

use crate::StorageError;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::schedule::{Firing, Plan, Schedule, ScheduleName};
use cofferdam_domain::time::Timestamp;

/// Schedules that one tenant may keep.
pub const SCHEDULES_MAX: u64 = 1_000;

/// Schedules, of which each instant is claimed by one host. Durable as [`Tasks`](crate::Tasks) are.
#[async_trait]
pub trait Schedules: Send + Sync + 'static {
    /// Keeps a schedule, or replaces what was said of it; `next_at` is its first instant. The revision is
    /// another one in any case, and what came of earlier instants is kept.
    async fn put_schedule(
        &self,
        tenant: &Tenant,
        name: &ScheduleName,
        plan: &Plan,
        next_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<PutSchedule, StorageError>;

    /// One of a tenant's schedules.
    async fn find_schedule(
        &self,
        tenant: &Tenant,
        name: &ScheduleName,
    ) -> Result<Option<Schedule>, StorageError>;

    /// A tenant's schedules behind `after`, by their names.
    async fn list_schedules(
        &self,
        tenant: &Tenant,
        after: Option<&ScheduleName>,
        limit: u32,
    ) -> Result<Vec<Schedule>, StorageError>;

    /// Removes a schedule; false if there is none.
    async fn remove_schedule(
        &self,
        tenant: &Tenant,
        name: &ScheduleName,
    ) -> Result<bool, StorageError>;

    /// The schedules of all tenants whose next instant has come, those that have waited for longest first.
    async fn due_schedules(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Schedule>, StorageError>;

    /// Records what came of an instant, and which one is next, unless somebody else did or the schedule was
    /// put anew: then false.
    async fn fired(
        &self,
        schedule: &Schedule,
        last: Option<Firing>,
        next_at: Option<Timestamp>,
    ) -> Result<bool, StorageError>;
}

/// What backends tell of schedules as they are kept, for whoever seals them anew.
#[async_trait]
pub(crate) trait KeptSchedules: Send + Sync + 'static {
    /// The first `limit` schedules behind `after`, whosever they are, by tenant and name.
    async fn all_schedules(
        &self,
        after: Option<(Tenant, ScheduleName)>,
        limit: u32,
    ) -> Result<Vec<Schedule>, StorageError>;

    /// Keeps another form of a plan, unless the schedule was put anew or removed meanwhile.
    async fn change_plan(&self, schedule: &Schedule, plan: &Plan) -> Result<(), StorageError>;
}

/// The result of putting a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutSchedule {
    /// It is new.
    Created,
    /// It was there.
    Replaced,
    /// The tenant has as many as it may.
    TooMany,
}
