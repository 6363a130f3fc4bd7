//! The backend as [`Schedules`].

use async_trait::async_trait;

use super::{SqliteStorage, schedules};
use crate::schedules::KeptSchedules;
use crate::{PutSchedule, Schedules, StorageError};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::schedule::{Firing, Plan, Schedule, ScheduleName};
use cofferdam_domain::time::Timestamp;

#[async_trait]
impl Schedules for SqliteStorage {
    async fn put_schedule(
        &self,
        tenant: &Tenant,
        name: &ScheduleName,
        plan: &Plan,
        next_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<PutSchedule, StorageError> {
        let (tenant, name, plan) = (tenant.clone(), name.clone(), plan.clone());
        self.writer
            .call(move |db| schedules::put(&db.conn, (&tenant, &name), &plan, next_at, now))
            .await
    }

    async fn find_schedule(
        &self,
        tenant: &Tenant,
        name: &ScheduleName,
    ) -> Result<Option<Schedule>, StorageError> {
        let (tenant, name) = (tenant.clone(), name.clone());
        self.readers
            .call(move |conn| schedules::find(conn, &tenant, &name))
            .await
    }

    async fn list_schedules(
        &self,
        tenant: &Tenant,
        after: Option<&ScheduleName>,
        limit: u32,
    ) -> Result<Vec<Schedule>, StorageError> {
        let (tenant, after) = (tenant.clone(), after.cloned());
        self.readers
            .call(move |conn| schedules::list(conn, &tenant, after.as_ref(), limit))
            .await
    }

    async fn remove_schedule(
        &self,
        tenant: &Tenant,
        name: &ScheduleName,
    ) -> Result<bool, StorageError> {
        let (tenant, name) = (tenant.clone(), name.clone());
        self.writer
            .call(move |db| schedules::remove(&db.conn, &tenant, &name))
            .await
    }

    async fn due_schedules(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Schedule>, StorageError> {
        self.readers
            .call(move |conn| schedules::due(conn, now, limit))
            .await
    }

    async fn fired(
        &self,
        schedule: &Schedule,
        last: Option<Firing>,
        next_at: Option<Timestamp>,
    ) -> Result<bool, StorageError> {
        let schedule = schedule.clone();
        self.writer
            .call(move |db| schedules::fired(&db.conn, &schedule, last.as_ref(), next_at))
            .await
    }
}

#[async_trait]
impl KeptSchedules for SqliteStorage {
    async fn all_schedules(
        &self,
        after: Option<(Tenant, ScheduleName)>,
        limit: u32,
    ) -> Result<Vec<Schedule>, StorageError> {
        self.readers
            .call(move |conn| schedules::all_behind(conn, after.as_ref(), limit))
            .await
    }

    async fn change_plan(&self, schedule: &Schedule, plan: &Plan) -> Result<(), StorageError> {
        let (schedule, plan) = (schedule.clone(), plan.clone());
        self.writer
            .call(move |db| schedules::change_plan(&db.conn, &schedule, &plan))
            .await
    }
}
