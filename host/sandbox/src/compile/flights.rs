//! Work in progress that several callers wait for: the first does it, the others share its result.
//!
//! The work has no task of its own. One of the callers drives it; if that caller goes away, the
//! next one starts it again, and if no caller is left, it ends.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OnceCell;

/// The work in progress, by key. It has at most as many entries as there are waiting callers.
pub(super) struct Flights<K, V> {
    open: Mutex<HashMap<K, Weak<OnceCell<V>>>>,
}

impl<K: Copy + Eq + Hash, V: Clone> Flights<K, V> {
    pub(super) fn new() -> Flights<K, V> {
        Flights {
            open: Mutex::new(HashMap::new()),
        }
    }

    /// The result of `work`, or of equal work in progress.
    pub(super) async fn join<W: Future<Output = V>>(&self, key: K, work: impl FnOnce() -> W) -> V {
        let seat = self.board(key);
        let cell = seat
            .cell
            .as_ref()
            .expect("a seat has its cell until it is dropped");
        cell.get_or_init(work).await.clone()
    }

    fn board(&self, key: K) -> Seat<'_, K, V> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = open.get(&key).and_then(Weak::upgrade).unwrap_or_else(|| {
            let cell = Arc::new(OnceCell::new());
            open.insert(key, Arc::downgrade(&cell));
            cell
        });
        Seat {
            flights: self,
            key,
            cell: Some(cell),
        }
    }
}

/// One caller's share in a flight. The last one to leave removes the entry.
struct Seat<'a, K: Copy + Eq + Hash, V> {
    flights: &'a Flights<K, V>,
    key: K,
    cell: Option<Arc<OnceCell<V>>>,
}

impl<K: Copy + Eq + Hash, V> Drop for Seat<'_, K, V> {
    fn drop(&mut self) {
        let mut open = self
            .flights
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        drop(self.cell.take());
        if open
            .get(&self.key)
            .is_some_and(|cell| cell.strong_count() == 0)
        {
            open.remove(&self.key);
        }
    }
}
