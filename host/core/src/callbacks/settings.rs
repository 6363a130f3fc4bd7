//! `[callbacks]`: which hosts are told of ends, how many at once, and for how long it is tried.

use std::time::Duration;

use crate::breaker::BreakerConfig;
use cofferdam_domain::grants::http::HostPattern;

/// The section.
#[derive(Clone, Debug)]
pub struct CallbacksConfig {
    /// The hosts that may be told; none by default, and then no task may have a callback.
    pub allow: Vec<HostPattern>,
    /// Messages under way at once.
    pub concurrency: usize,
    /// Messages under way at once to one host for one tenant.
    pub concurrency_per_host: usize,
    /// How long one try may take, its answer included.
    pub timeout: Duration,
    /// Bytes of an answer's body that are read.
    pub answer_bytes: usize,
    /// The longest result that is told with the end.
    pub result_bytes: u64,
    /// The wait after the first try that did not succeed; it doubles with each.
    pub retry_base: Duration,
    /// The longest wait between two tries.
    pub retry_max: Duration,
    /// How long an end is told before it is given up.
    pub retry_for: Duration,
    /// When a host is held back that fails again and again.
    pub breaker: BreakerConfig,
}

impl Default for CallbacksConfig {
    fn default() -> CallbacksConfig {
        CallbacksConfig {
            allow: Vec::new(),
            concurrency: 32,
            concurrency_per_host: 8,
            timeout: Duration::from_secs(10),
            answer_bytes: 64 << 10,
            result_bytes: 64 << 10,
            retry_base: Duration::from_secs(5),
            retry_max: Duration::from_secs(60 * 60),
            retry_for: Duration::from_secs(24 * 60 * 60),
            breaker: BreakerConfig::default(),
        }
    }
}
