//! Removing everything of a tenant's: tasks that wait are cancelled, attempts that run are asked to end, and what
//! is final is removed with its files.
//!
//! It is done in slices, each one commit. Whoever stops in the middle leaves a tenant with less, and whoever
//! begins again goes on there, so nothing is kept of how far it has come.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::queue::many::{BulkChange, SLICE};
use crate::queue::{Queue, QueueError};
use cofferdam_domain::caller::{Caller, Scope, Tenant};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::whose::Whose;
use cofferdam_storage::{StorageError, TaskFilter};

/// How long attempts that run are left to end before they are looked for again.
const PAUSE: Duration = Duration::from_millis(100);

impl Queue {
    /// Removes the tasks of a tenant until none is left, or that moment has come; whether none is left.
    pub async fn clear_tenant(
        &self,
        caller: &Caller,
        tenant: &Tenant,
        until: Instant,
    ) -> Result<bool, QueueError> {
        caller.may(Scope::Admin)?;
        let whose = Whose::One(tenant.clone());
        let is_over = || Instant::now() >= until || self.shared.shutdown.is_requested();
        loop {
            self.end_open(tenant, is_over).await?;
            while self.remove_final(tenant).await? {
                if is_over() {
                    return Ok(false);
                }
            }
            if self.shared.reads.counts(&whose).await?.all() == 0 {
                return Ok(true);
            }
            if is_over() {
                return Ok(false);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Requests the end of tasks that are not final: of all, unless it is over before.
    async fn end_open(
        &self,
        tenant: &Tenant,
        is_over: impl Fn() -> bool,
    ) -> Result<(), QueueError> {
        let mut filter = TaskFilter {
            states: vec![TaskState::Blocked, TaskState::Pending, TaskState::Running],
            ..TaskFilter::default()
        };
        let limit = u32::try_from(SLICE).unwrap_or(u32::MAX);
        loop {
            let page = self.shared.reads.task_ids(tenant, &filter, limit).await?;
            let whose = Whose::One(tenant.clone());
            self.slices(whose, BulkChange::Cancel, page.ids)
                .make()
                .await?;
            match page.next {
                None => return Ok(()),
                Some(_) if is_over() => return Ok(()),
                next => filter.after = next,
            }
        }
    }

    /// Removes some final tasks; whether there may be more.
    async fn remove_final(&self, tenant: &Tenant) -> Result<bool, QueueError> {
        let (shared, attic) = (self.shared.clone(), self.attic.clone());
        let (tell, told) = oneshot::channel();
        let tenant = tenant.clone();
        // It is a separate task, so that a caller who goes away does not leave the files behind.
        self.shared.shutdown.spawn("purge tenant", async move {
            let limit = u32::try_from(SLICE).unwrap_or(u32::MAX);
            let removed = shared.storage.purge_some(&tenant, limit).await;
            let removed = match removed {
                Ok(pruned) => {
                    let is_full = pruned.tasks.len() >= SLICE;
                    pruned.tasks.iter().for_each(|id| shared.events.forget(*id));
                    attic.remove(pruned).await;
                    Ok(is_full)
                }
                Err(error) => Err(error),
            };
            let _gone = tell.send(removed);
        });
        let lost = |_| StorageError::Unknown("the host is ending".to_owned());
        Ok(told.await.map_err(lost)??)
    }
}
