//! The byte budget that spool and artifacts share.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::StorageError;

/// Bytes in use and the most there may be.
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
    pub(super) fn take(&self, size_bytes: u64) -> Result<(), StorageError> {
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

    /// Gives back what a removed file held.
    pub(super) fn give(&self, size_bytes: u64) {
        let less = |used: u64| Some(used.saturating_sub(size_bytes));
        // The closure always answers with a value.
        let _before = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}
