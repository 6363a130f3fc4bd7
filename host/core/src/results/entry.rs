//! What a tier of the cache has to know of a result; where its bytes are is not its business.

use std::time::{Duration, Instant};

use cofferdam_domain::caller::Tenant;

/// What a tier has.
pub(super) trait Entry: Clone + Send + Sync + 'static {
    fn tenant(&self) -> &Tenant;
    /// What it takes.
    fn bytes(&self) -> u64;
    /// How long it is still kept.
    fn left(&self, now: Instant) -> Duration;
}
