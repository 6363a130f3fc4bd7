//! What a request asks of the result cache: `cache: {ttl_ms}`.

use std::time::Duration;

use serde::Deserialize;

use crate::intake::json::Whole;
use crate::intake::words::CACHE_TTL_MS_MAX;

/// Takes the result of an earlier run that was the same, and keeps that of this one.
#[derive(Clone, Copy, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CacheJson {
    /// How old the earlier result may be, and how long this one is kept.
    #[schema(value_type = u64, minimum = 1, maximum = 604_800_000)]
    ttl_ms: Whole<1, CACHE_TTL_MS_MAX>,
}

impl CacheJson {
    pub(crate) fn ttl(self) -> Duration {
        Duration::from_millis(self.ttl_ms.0)
    }
}
