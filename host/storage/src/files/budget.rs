//! The budget that spool, artifacts and files of executions share.
//!
//! It counts the space that files take up, not their length: an empty file costs a block like any
//! other entry. Reserved room belongs to a [`Room`] and is given back when that is dropped, unless
//! the files stay.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::StorageError;

/// Bytes in use, and the most that may be.
#[derive(Debug)]
pub(super) struct Budget {
    used: AtomicU64,
    limit: u64,
}

impl Budget {
    pub(super) fn new(limit: u64, used: u64) -> Budget {
        Budget {
            used: AtomicU64::new(used),
            limit,
        }
    }

    pub(super) fn usage(&self) -> (u64, u64) {
        (self.used.load(Ordering::Relaxed), self.limit)
    }

    /// Takes `size_bytes`, or nothing if that is more than is left.
    fn take(&self, size_bytes: u64) -> Result<(), StorageError> {
        let fits = |used: u64| {
            used.checked_add(size_bytes)
                .filter(|sum| *sum <= self.limit)
        };
        match self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
        {
            Ok(_before) => Ok(()),
            Err(used) => Err(StorageError::Full(format!(
                "{used} of {} bytes for inputs and artifacts are in use, and {size_bytes} more are \
                 needed",
                self.limit
            ))),
        }
    }

    /// Gives back the room of removed files.
    pub(super) fn give(&self, size_bytes: u64) {
        let less = |used: u64| Some(used.saturating_sub(size_bytes));
        // The closure always answers with a value.
        let _before = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

/// Room that was taken, and is given back when this is dropped.
#[must_use]
#[derive(Debug)]
pub(super) struct Room {
    budget: Arc<Budget>,
    size_bytes: u64,
}

impl Room {
    /// Takes room for `size_bytes`.
    pub(super) fn take(budget: &Arc<Budget>, size_bytes: u64) -> Result<Room, StorageError> {
        budget.take(size_bytes)?;
        Ok(Room {
            budget: Arc::clone(budget),
            size_bytes,
        })
    }

    /// Changes it to room for `size_bytes` in all, or leaves it unchanged.
    pub(super) fn resize(&mut self, size_bytes: u64) -> Result<(), StorageError> {
        match size_bytes.checked_sub(self.size_bytes) {
            Some(more) => self.budget.take(more)?,
            None => self.budget.give(self.size_bytes - size_bytes),
        }
        self.size_bytes = size_bytes;
        Ok(())
    }

    /// The files stay: their room is given back when they are removed.
    pub(super) fn leave(mut self) {
        self.size_bytes = 0;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.budget.give(self.size_bytes);
    }
}
