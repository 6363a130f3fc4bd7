//! The backend as [`Schedules`].

use async_trait::async_trait;
use futures_util::FutureExt;

use super::tx::{Mode, reading};
use super::{PostgresStorage, schedules};
use crate::schedules::KeptSchedules;
use crate::{PutSchedule, Schedules, StorageError};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::schedule::{Firing, Plan, Schedule, ScheduleName};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;

#[async_trait]
impl Schedules for PostgresStorage {
    async fn put_schedule(
        &self,
        tenant: &Tenant,
        name: &ScheduleName,
        plan: &Plan,
        next_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<PutSchedule, StorageError> {
        let kept = (tenant.clone(), name.clone(), plan.clone());
        self.write_of(&Whose::One(tenant.clone()), move |call| {
            let (tenant, name, plan) = kept.clone();
            async move { schedules::put(&call, (&tenant, &name), &plan, next_at, now).await }
                .boxed()
        })
        .await
    }

    async fn find_schedule(
        &self,
        tenant: &Tenant,
        name: &ScheduleName,
    ) -> Result<Option<Schedule>, StorageError> {
        let wanted = (tenant.clone(), name.clone());
        self.read_of(&Whose::One(tenant.clone()), move |call| {
            let (tenant, name) = wanted.clone();
            async move { reading!(call, tx, schedules::find(&mut tx, &tenant, &name)) }.boxed()
        })
        .await
    }

    async fn list_schedules(
        &self,
        tenant: &Tenant,
        after: Option<&ScheduleName>,
        limit: u32,
    ) -> Result<Vec<Schedule>, StorageError> {
        let wanted = (tenant.clone(), after.cloned());
        self.read_of(&Whose::One(tenant.clone()), move |call| {
            let (tenant, after) = wanted.clone();
            async move {
                reading!(
                    call,
                    tx,
                    schedules::list(&mut tx, &tenant, after.as_ref(), limit)
                )
            }
            .boxed()
        })
        .await
    }

    async fn remove_schedule(
        &self,
        tenant: &Tenant,
        name: &ScheduleName,
    ) -> Result<bool, StorageError> {
        let wanted = (tenant.clone(), name.clone());
        self.write_of(&Whose::One(tenant.clone()), move |call| {
            let (tenant, name) = wanted.clone();
            async move { schedules::remove(&call, &tenant, &name).await }.boxed()
        })
        .await
    }

    async fn due_schedules(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Schedule>, StorageError> {
        self.read(move |call| {
            async move { reading!(call, tx, schedules::due(&mut tx, now, limit)) }.boxed()
        })
        .await
    }

    async fn fired(
        &self,
        schedule: &Schedule,
        last: Option<Firing>,
        next_at: Option<Timestamp>,
    ) -> Result<bool, StorageError> {
        let told = (schedule.clone(), last);
        self.write_of(&Whose::One(schedule.tenant.clone()), move |call| {
            let (schedule, last) = told.clone();
            async move { schedules::fired(&call, &schedule, last.as_ref(), next_at).await }.boxed()
        })
        .await
    }
}

#[async_trait]
impl KeptSchedules for PostgresStorage {
    async fn all_schedules(
        &self,
        after: Option<(Tenant, ScheduleName)>,
        limit: u32,
    ) -> Result<Vec<Schedule>, StorageError> {
        self.read(move |call| {
            let after = after.clone();
            async move {
                reading!(
                    call,
                    tx,
                    schedules::all_behind(&mut tx, after.as_ref(), limit)
                )
            }
            .boxed()
        })
        .await
    }

    async fn change_plan(&self, schedule: &Schedule, plan: &Plan) -> Result<(), StorageError> {
        let told = (schedule.clone(), plan.clone());
        self.write_of(&Whose::One(schedule.tenant.clone()), move |call| {
            let (schedule, plan) = told.clone();
            async move { schedules::change_plan(&call, &schedule, &plan).await }.boxed()
        })
        .await
    }
}
