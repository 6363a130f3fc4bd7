//! Batches: tasks that were submitted together.
//!
//! What a batch's tasks are is in `task`; how many of them are in which state is counted in storage.

use uuid::Uuid;

use crate::callback::Callback;
use crate::caller::Tenant;

/// The most tasks that one batch may have.
pub const BATCH_TASKS_MAX: usize = 10_000;

/// A batch's id: a UUIDv7 of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub Uuid);

impl std::fmt::Display for BatchId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A batch about to be stored.
#[derive(Clone, Debug)]
pub struct NewBatch {
    /// Its id.
    pub id: BatchId,
    /// Whose it is.
    pub tenant: Tenant,
    /// How many of its tasks may be under way at once, over all hosts; any number if absent.
    pub parallelism: Option<u32>,
    /// Whom its end is told.
    pub callback: Option<Callback>,
    /// What makes a repeated submission the same one.
    pub idempotency_key: Option<String>,
    /// A hash of the request, so that a repeated key with another body is told apart.
    pub fingerprint: [u8; 16],
}

impl NewBatch {
    /// The bound on those under way, if a batch of so many tasks can meet it.
    pub fn bound(&self, tasks: usize) -> Option<u32> {
        self.parallelism
            .filter(|most| usize::try_from(*most).is_ok_and(|most| most < tasks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_that_all_tasks_fit_into_is_none() {
        let bound = |parallelism: Option<u32>, tasks: usize| {
            let batch = NewBatch {
                id: BatchId(Uuid::nil()),
                tenant: Tenant::DEFAULT,
                parallelism,
                callback: None,
                idempotency_key: None,
                fingerprint: [0; 16],
            };
            assert_eq!(batch.id.to_string(), Uuid::nil().to_string());
            batch.bound(tasks)
        };
        assert_eq!(bound(None, 10), None);
        assert_eq!(bound(Some(5), 4), None);
        assert_eq!(bound(Some(5), 5), None);
        assert_eq!(bound(Some(5), 6), Some(5));
    }
}
