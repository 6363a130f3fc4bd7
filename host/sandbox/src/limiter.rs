//! The memory of one guest: all linear memories and tables together.
//!
//! wasmtime asks before every growth, the first allocation included. A refused growth is not an
//! error: the guest sees -1 and may cope. The refusal is remembered, because a guest that fails
//! afterwards failed for lack of memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use wasmtime::ResourceLimiter;

use crate::admission::Growth;
use crate::engine::{INSTANCES_MAX, MEMORIES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX};
use cofferdam_domain::limits::Limits;

/// Host memory that one table element takes.
const ELEMENT_BYTES: u64 = 8;

/// Counts and refuses.
pub(crate) struct Limiter {
    memory_allowed: u64,
    elements_allowed: u64,
    memory_bytes: u64,
    elements: u64,
    reached: Arc<Reached>,
    /// The guest's share of the host's budget; without it the budget is not used.
    growth: Option<Growth>,
    denied: Option<Denied>,
}

/// What a guest has come to, which other threads may ask while it runs.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    peak_bytes: AtomicU64,
    starved: AtomicBool,
}

impl Reached {
    /// The most that memories and tables held at once.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.peak_bytes.load(Ordering::Relaxed)
    }

    /// Whether the guest's last refusal was of memory that its limit allows.
    pub(crate) fn is_starved(&self) -> bool {
        self.starved.load(Ordering::Relaxed)
    }
}

/// A growth that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// Bytes of memories and tables.
    Memory { used: u64, asked: u64, allowed: u64 },
    /// Elements of tables.
    Elements { used: u64, asked: u64, allowed: u64 },
    /// Bytes that its limit allows but the host does not have.
    Budget { used: u64, asked: u64 },
}

impl std::fmt::Display for Denied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Denied::Memory {
                used,
                asked,
                allowed,
            } => write!(
                f,
                "memories and tables held {used} bytes and asked for {asked} more; \
                 {allowed} are allowed"
            ),
            Denied::Elements {
                used,
                asked,
                allowed,
            } => write!(
                f,
                "tables held {used} elements and asked for {asked} more; {allowed} are allowed"
            ),
            Denied::Budget { used, asked } => write!(
                f,
                "memories and tables held {used} bytes and asked for {asked} more; the guests \
                 of this host have no more memory to share"
            ),
        }
    }
}

impl Limiter {
    /// A limiter for a run under `limits`.
    pub(crate) fn new(limits: &Limits) -> Limiter {
        Limiter {
            memory_allowed: limits.memory_bytes,
            elements_allowed: limits.table_elements,
            memory_bytes: 0,
            elements: 0,
            reached: Arc::default(),
            growth: None,
            denied: None,
        }
    }

    /// Makes it take its memory from the host's budget.
    pub(crate) fn may_grow_by(&mut self, growth: Growth) {
        self.growth = Some(growth);
    }

    /// The most that memories and tables held at once.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.reached.peak_bytes()
    }

    /// What other threads may ask.
    pub(crate) fn reached(&self) -> Arc<Reached> {
        Arc::clone(&self.reached)
    }

    /// Forgets refusals: a guest that is called again is judged by its new call.
    pub(crate) fn begin_call(&mut self) {
        self.denied = None;
        self.reached.starved.store(false, Ordering::Relaxed);
    }

    /// Remembers a refusal.
    fn deny(&mut self, denied: Denied) {
        let starved = match denied {
            Denied::Budget { .. } => true,
            Denied::Memory { .. } | Denied::Elements { .. } => false,
        };
        self.reached.starved.store(starved, Ordering::Relaxed);
        self.denied = Some(denied);
    }

    /// The last growth refused.
    pub(crate) fn denied(&self) -> Option<Denied> {
        self.denied
    }

    fn used_bytes(&self) -> u64 {
        self.memory_bytes + self.elements * ELEMENT_BYTES
    }

    fn fits(&mut self, more_bytes: u64) -> bool {
        let used = self.used_bytes();
        if used.saturating_add(more_bytes) <= self.memory_allowed {
            let wanted = used + more_bytes;
            let growth = self.growth.as_mut();
            if growth.is_none_or(|growth| growth.reach(wanted, self.memory_allowed)) {
                self.reached.peak_bytes.fetch_max(wanted, Ordering::Relaxed);
                return true;
            }
            self.deny(Denied::Budget {
                used,
                asked: more_bytes,
            });
            return false;
        }
        self.deny(Denied::Memory {
            used,
            asked: more_bytes,
            allowed: self.memory_allowed,
        });
        false
    }
}

/// Growth is never subtracted. wasmtime can still fail to grow after it asked, but only when the
/// machine itself has no more memory; the sum is then too high, which is safe.
impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            // The module's own declaration forbids it, not a limit.
            return Ok(false);
        }
        let more = desired.saturating_sub(current) as u64;
        if !self.fits(more) {
            return Ok(false);
        }
        self.memory_bytes += more;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current) as u64;
        if let Some(maximum) = maximum
            && desired > maximum
        {
            // If the module declares no maximum, the maximum is the pool's, which is a limit of the
            // host.
            if maximum >= TABLE_ELEMENTS_MAX {
                self.deny(Denied::Elements {
                    used: self.elements,
                    asked: more,
                    allowed: self.elements_allowed.min(TABLE_ELEMENTS_MAX as u64),
                });
            }
            return Ok(false);
        }
        if self.elements.saturating_add(more) > self.elements_allowed {
            self.deny(Denied::Elements {
                used: self.elements,
                asked: more,
                allowed: self.elements_allowed,
            });
            return Ok(false);
        }
        if !self.fits(more.saturating_mul(ELEMENT_BYTES)) {
            return Ok(false);
        }
        self.elements += more;
        Ok(true)
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_MAX as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX as usize
    }
}
