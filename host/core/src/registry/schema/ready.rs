//! Prepared schemas by module, in a cache of bounded size.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use super::Which;
use super::pattern::Pattern;
use super::rules::Rulebook;
use cofferdam_domain::module::Digest;

/// The most schemas kept.
const SCHEMAS_MAX: NonZeroUsize = NonZeroUsize::new(512).expect("not zero");
/// The most bytes of them together.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// The most memory that a byte of a schema's text becomes.
const BYTES_PER_TEXT_BYTE: usize = 32;

/// A prepared schema.
#[derive(Debug)]
pub(super) struct Schema {
    book: Rulebook,
    bytes: usize,
}

impl Schema {
    pub(super) fn new(text: &str, book: Rulebook) -> Schema {
        let automata: usize = book.patterns.iter().map(Pattern::bytes).sum();
        Schema {
            bytes: automata + text.len() * BYTES_PER_TEXT_BYTE,
            book,
        }
    }

    pub(super) fn book(&self) -> &Rulebook {
        &self.book
    }
}

/// The memory.
#[derive(Debug)]
pub(super) struct Ready(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    schemas: LruCache<(Digest, Which), Arc<Schema>>,
    bytes: usize,
}

impl Default for Ready {
    fn default() -> Ready {
        Ready(Mutex::new(Kept {
            schemas: LruCache::new(SCHEMAS_MAX),
            bytes: 0,
        }))
    }
}

impl Ready {
    pub(super) fn get(&self, digest: Digest, which: Which) -> Option<Arc<Schema>> {
        self.lock().schemas.get(&(digest, which)).map(Arc::clone)
    }

    /// Keeps a schema, and drops those that were used longest ago.
    pub(super) fn keep(&self, digest: Digest, which: Which, schema: Schema) -> Arc<Schema> {
        let schema = Arc::new(schema);
        let mut kept = self.lock();
        kept.bytes += schema.bytes;
        if let Some((_, old)) = kept.schemas.push((digest, which), Arc::clone(&schema)) {
            kept.bytes -= old.bytes;
        }
        while kept.bytes > BYTES_MAX {
            let Some((_, old)) = kept.schemas.pop_lru() else {
                break;
            };
            kept.bytes -= old.bytes;
        }
        schema
    }

    pub(super) fn remove(&self, digest: Digest) {
        let mut kept = self.lock();
        for which in [Which::Input, Which::Output] {
            if let Some(old) = kept.schemas.pop(&(digest, which)) {
                kept.bytes -= old.bytes;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_bounded_by_its_bytes() {
        let ready = Ready::default();
        let large = |bytes| Schema {
            book: Rulebook {
                nodes: Vec::new(),
                patterns: Vec::new(),
            },
            bytes,
        };
        let digest = |n| Digest::from_bytes([n; 32]);
        for n in 0..10 {
            ready.keep(digest(n), Which::Input, large(16 << 20));
        }
        assert!(ready.get(digest(5), Which::Input).is_none());
        assert!(ready.get(digest(6), Which::Input).is_some());
        ready.keep(digest(6), Which::Input, large(1));
        ready.remove(digest(7));
        ready.keep(digest(1), Which::Output, large(32 << 20));
        let kept = ready.lock();
        assert_eq!(kept.bytes, (48 << 20) + 1);
        assert_eq!(kept.schemas.len(), 3);
    }
}
