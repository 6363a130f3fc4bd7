//! Entries in the order in which they came: the oldest goes first, however often it was used.
//!
//! The list is that of `lru`, which is asked without being told of uses. What goes is given to the caller.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

use super::entry::Entry;
use super::key::Key;

/// Entries that are over are looked for this often, because that walks over all of them.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The entries, bounded by bytes and number.
pub(super) struct Fifo<E> {
    queue: Mutex<Queue<E>>,
    bytes: u64,
    entries: u64,
}

struct Queue<E> {
    in_order: LruCache<Key, E>,
    bytes: u64,
    swept: Option<Instant>,
}

impl<E: Entry> Fifo<E> {
    pub(super) fn new(bytes: u64, entries: u64) -> Fifo<E> {
        let queue = Queue {
            in_order: LruCache::unbounded(),
            bytes: 0,
            swept: None,
        };
        Fifo {
            queue: Mutex::new(queue),
            bytes,
            entries,
        }
    }

    /// Puts an entry behind all others; gives what goes for it, which may be the entry itself.
    pub(super) fn insert(&self, key: Key, entry: E) -> Vec<E> {
        if entry.bytes() > self.bytes {
            return vec![entry];
        }
        let mut queue = self.lock();
        let mut gone = Vec::new();
        queue.bytes += entry.bytes();
        if let Some((_, before)) = queue.in_order.push(key, entry) {
            queue.bytes -= before.bytes();
            gone.push(before);
        }
        while queue.bytes > self.bytes || queue.in_order.len() as u64 > self.entries {
            let Some((_, oldest)) = queue.in_order.pop_lru() else {
                break;
            };
            queue.bytes -= oldest.bytes();
            gone.push(oldest);
        }
        gone
    }

    pub(super) fn get(&self, key: &Key) -> Option<E> {
        self.lock().in_order.peek(key).cloned()
    }

    pub(super) fn remove(&self, key: &Key) -> Option<E> {
        let mut queue = self.lock();
        let removed = queue.in_order.pop(key)?;
        queue.bytes -= removed.bytes();
        Some(removed)
    }

    /// Takes out what is over.
    pub(super) fn sweep(&self, now: Instant) -> Vec<E> {
        let mut queue = self.lock();
        if queue.swept.is_some_and(|last| now < last + SWEEP_EVERY) {
            return Vec::new();
        }
        queue.swept = Some(now);
        let entries = queue.in_order.iter();
        let is_over = entries.filter(|(_, entry)| entry.left(now).is_zero());
        let over: Vec<Key> = is_over.map(|(key, _)| *key).collect();
        drop(queue);
        over.iter().filter_map(|key| self.remove(key)).collect()
    }

    /// Takes out everything.
    pub(super) fn clear(&self) -> Vec<E> {
        let mut queue = self.lock();
        queue.bytes = 0;
        let mut all = Vec::with_capacity(queue.in_order.len());
        while let Some((_, entry)) = queue.in_order.pop_lru() {
            all.push(entry);
        }
        all
    }

    pub(super) fn len(&self) -> u64 {
        self.lock().in_order.len() as u64
    }

    fn lock(&self) -> MutexGuard<'_, Queue<E>> {
        // Nothing panics while holding it.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
