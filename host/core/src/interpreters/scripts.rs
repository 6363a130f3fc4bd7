//! Sources of script modules that ran recently, so that a run does not query the database.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use lru::LruCache;

use cofferdam_domain::module::Digest;

/// The most sources remembered.
const SOURCES_MAX: NonZeroUsize = NonZeroUsize::new(256).expect("256 is not zero");
/// The largest one remembered.
const SOURCE_BYTES_MAX: usize = 256 * 1024;

/// The memory.
pub(crate) struct Scripts(Mutex<LruCache<Digest, Bytes>>);

impl Default for Scripts {
    fn default() -> Scripts {
        Scripts(Mutex::new(LruCache::new(SOURCES_MAX)))
    }
}

impl Scripts {
    pub(crate) fn get(&self, digest: Digest) -> Option<Bytes> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&digest).cloned()
    }

    pub(crate) fn keep(&self, digest: Digest, source: &Bytes) {
        if source.len() <= SOURCE_BYTES_MAX {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            known.put(digest, source.clone());
        }
    }
}
