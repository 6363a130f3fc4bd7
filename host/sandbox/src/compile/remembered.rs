//! What earlier compilations came to, so that the same module does not cost the same again in vain: what
//! was refused stays refused for a while, and what the disk had no room for is not made again before it
//! has.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

use super::Key;
use crate::CompileError;

/// Refusals that are remembered, and sizes.
const KEYS_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("1024 is not zero");
/// For how long a refusal is. A module may have run into the deadline only because the machine was busy.
const REFUSAL_KEPT: Duration = Duration::from_secs(600);

/// The memory.
pub(super) struct Remembered {
    refusals: Mutex<LruCache<Key, (Instant, CompileError)>>,
    sizes: Mutex<LruCache<Key, u64>>,
}

impl Remembered {
    pub(super) fn nothing() -> Remembered {
        Remembered {
            refusals: Mutex::new(LruCache::new(KEYS_MAX)),
            sizes: Mutex::new(LruCache::new(KEYS_MAX)),
        }
    }

    /// Why the module was refused a short while ago.
    pub(super) fn refusal(&self, key: &Key) -> Option<CompileError> {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, error) = refusals.get(key)?;
        if since.elapsed() < REFUSAL_KEPT {
            return Some(error.clone());
        }
        refusals.pop(key);
        None
    }

    /// Remembers an error, if the module is at fault.
    pub(super) fn refused(&self, key: Key, error: &CompileError) {
        match error {
            CompileError::Refused(_) | CompileError::Limit(_) => {
                let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
                refusals.put(key, (Instant::now(), error.clone()));
            }
            // The next try may go well.
            CompileError::Host(_) | CompileError::Full(_) | CompileError::Busy => {}
        }
    }

    /// How large the code is at least that there was no room for.
    pub(super) fn size(&self, key: &Key) -> Option<u64> {
        let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        sizes.get(key).copied()
    }

    /// Remembers that.
    pub(super) fn without_room(&self, key: Key, code_bytes: u64) {
        let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        sizes.put(key, code_bytes);
    }
}
