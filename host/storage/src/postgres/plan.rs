//! Which tasks of submissions that come together are stored, and what each caller is told: decided in
//! memory, from what the database knew when the transaction began and in the order of the calls.
//!
//! It leaves out how the database is asked and written; that is `insert`.

use std::collections::{HashMap, HashSet};

use super::quotas::Quotas;
use crate::{Bounds, Inserted, StorageError};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::module::Digest;
use cofferdam_domain::task::{NewTask, TaskId};
use cofferdam_domain::time::Timestamp;

/// A key of a tenant's: each tenant has keys of its own.
pub(super) type TenantKey = (Tenant, String);

/// Who has an id or key, and for what request.
#[derive(Clone)]
pub(super) struct Earlier {
    pub(super) tenant: Tenant,
    pub(super) id: TaskId,
    pub(super) fingerprint: [u8; 16],
}

/// What is known beforehand, and then of the submissions planned so far.
#[derive(Default)]
pub(super) struct Known {
    pub(super) by_id: HashMap<TaskId, Earlier>,
    pub(super) by_key: HashMap<TenantKey, Earlier>,
    /// Who holds a dedup key, and until when.
    pub(super) holders: HashMap<TenantKey, (TaskId, Timestamp)>,
    pub(super) waiting: u64,
    /// What the tenants have that have quotas.
    pub(super) quotas: Quotas,
    /// Versions that tasks would run and that are not kept.
    pub(super) gone: HashSet<Digest>,
}

/// What one submission adds, until it is known whether it is taken.
#[derive(Default)]
struct Added {
    by_id: HashMap<TaskId, Earlier>,
    by_key: HashMap<TenantKey, Earlier>,
    holders: HashMap<TenantKey, (TaskId, Timestamp)>,
}

impl Known {
    /// Plans one submission; a refused one leaves nothing.
    pub(super) fn plan(
        &mut self,
        tasks: &[NewTask],
        bounds: Bounds,
        now: Timestamp,
    ) -> Result<Vec<Inserted>, StorageError> {
        let mut added = Added::default();
        let mut inserted = Vec::with_capacity(tasks.len());
        for task in tasks {
            inserted.push(self.became(&mut added, task, now)?);
        }
        let new = inserted.iter().filter(|became| **became == Inserted::New);
        let more = u64::try_from(new.count()).unwrap_or(u64::MAX);
        let waiting = self.waiting.saturating_add(more);
        // What repeats an earlier request is answered even by a queue that is full.
        if more > 0 && waiting > bounds.pending_max {
            return Err(StorageError::QueueFull {
                pending: self.waiting,
                limit: bounds.pending_max,
            });
        }
        self.quotas.take(tasks, &inserted, bounds.tenant)?;
        self.waiting = waiting;
        self.by_id.extend(added.by_id);
        self.by_key.extend(added.by_key);
        self.holders.extend(added.holders);
        Ok(inserted)
    }

    fn became(
        &self,
        added: &mut Added,
        task: &NewTask,
        now: Timestamp,
    ) -> Result<Inserted, StorageError> {
        let by_id = added.by_id.get(&task.id).or(self.by_id.get(&task.id));
        let tenants = |key: &String| (task.tenant.clone(), key.clone());
        let key = task.idempotency_key.as_ref().map(tenants);
        if let Some(key) = &key
            && let Some(earlier) = added.by_key.get(key).or(self.by_key.get(key))
        {
            return earlier.compared(task);
        }
        let dedup = task.dedup.as_ref();
        let dedup = dedup.map(|dedup| (tenants(&dedup.key), dedup.window));
        if let Some((key, _)) = &dedup
            && let Some(holder) = self.holder(added, key, now)
        {
            // The same request again is a repetition rather than a duplicate.
            return match by_id {
                Some(earlier) => earlier.compared(task),
                None => Ok(Inserted::Deduplicated(holder)),
            };
        }
        if let Some(earlier) = by_id {
            return earlier.compared(task);
        }
        if self.gone.contains(&task.spec.digest) {
            return Err(StorageError::ModuleGone(task.spec.digest));
        }
        let earlier = Earlier {
            tenant: task.tenant.clone(),
            id: task.id,
            fingerprint: task.fingerprint,
        };
        added.by_id.insert(task.id, earlier.clone());
        if let Some(key) = key {
            added.by_key.insert(key, earlier);
        }
        if let Some((key, window)) = dedup {
            added.holders.insert(key, (task.id, now.plus(window)));
        }
        Ok(Inserted::New)
    }

    fn holder(&self, added: &Added, key: &TenantKey, now: Timestamp) -> Option<TaskId> {
        let known = added.holders.get(key).or(self.holders.get(key));
        known
            .filter(|(_, until)| *until > now)
            .map(|(holder, _)| *holder)
    }
}

impl Earlier {
    /// The task of another tenant is never the same request: whoever names it learns only that the id
    /// cannot be theirs.
    fn compared(&self, task: &NewTask) -> Result<Inserted, StorageError> {
        if self.tenant == task.tenant && self.fingerprint == task.fingerprint {
            Ok(Inserted::Repeated(self.id))
        } else {
            Err(StorageError::Conflict(self.id))
        }
    }
}
