//! Waiters for a task to become final.
//!
//! Nobody waits for most tasks, so the common case costs one atomic load.

use std::collections::HashMap;
use std::sync::Arc;

use super::locks::{AtomicUsize, Mutex, MutexGuard, Notified, Notify, Ordering, PoisonError};
use cofferdam_domain::task::TaskId;

/// The waiters of this host, by task.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    by_task: Mutex<HashMap<TaskId, Bell>>,
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Bell {
    rings: Arc<Notify>,
    listeners: usize,
}

/// One waiter's place. Dropping it gives the place up.
pub(crate) struct Waiting<'a> {
    waiters: &'a Waiters,
    id: TaskId,
    bell: Arc<Notify>,
}

impl Waiters {
    /// Takes a place. Every later [`Waiters::wake`] of the task wakes the futures that
    /// [`Waiting::woken`] returned before.
    pub(crate) fn enter(&self, id: TaskId) -> Waiting<'_> {
        let mut by_task = self.lock();
        let bell = by_task.entry(id).or_default();
        bell.listeners += 1;
        let bell = Arc::clone(&bell.rings);
        self.count.store(by_task.len(), Ordering::SeqCst);
        drop(by_task);
        Waiting {
            waiters: self,
            id,
            bell,
        }
    }

    /// Wakes the waiters for `id`, so that they check again.
    pub(crate) fn wake(&self, id: TaskId) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        if let Some(bell) = self.lock().get(&id) {
            bell.rings.notify_waiters();
        }
    }

    /// The tasks that somebody waits for.
    pub(crate) fn sought(&self) -> Vec<TaskId> {
        if self.count.load(Ordering::SeqCst) == 0 {
            return Vec::new();
        }
        self.lock().keys().copied().collect()
    }

    /// Wakes all waiters.
    pub(crate) fn wake_all(&self) {
        for bell in self.lock().values() {
            bell.rings.notify_waiters();
        }
    }

    /// Whether nobody waits.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0 && self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, Bell>> {
        self.by_task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting<'_> {
    /// Ends at the next wake after this call, even one before the first poll.
    pub(crate) fn woken(&self) -> Notified<'_> {
        self.bell.notified()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut by_task = self.waiters.lock();
        if let Some(bell) = by_task.get_mut(&self.id) {
            bell.listeners -= 1;
            if bell.listeners == 0 {
                by_task.remove(&self.id);
            }
        }
        self.waiters.count.store(by_task.len(), Ordering::SeqCst);
    }
}
