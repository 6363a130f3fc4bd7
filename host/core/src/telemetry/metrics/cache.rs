//! What is counted of the result cache.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::{Metrics, Readings, Word, signed};
use cofferdam_domain::cache::CacheUse;

/// Look-ups and sizes.
#[derive(Debug, Default)]
pub(super) struct Cache {
    asked: Family<Word, Counter>,
    results: Gauge,
    bytes: Gauge,
}

impl Cache {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "cache_lookups",
            "Runs that asked the result cache, by where their result came from",
            self.asked.clone(),
        );
        registry.register(
            "cache_results",
            "Results that are kept",
            self.results.clone(),
        );
        registry.register_with_unit(
            "cache",
            "Memory of the results that are kept",
            Unit::Bytes,
            self.bytes.clone(),
        );
    }

    pub(super) fn set(&self, readings: &Readings) {
        self.results.set(signed(readings.cache_results));
        self.bytes.set(signed(readings.cache_bytes));
    }
}

impl Metrics {
    /// Counts a run that asked the result cache.
    pub fn cache_asked(&self, how: CacheUse) {
        self.cache
            .asked
            .get_or_create(&[("outcome", how.as_str())])
            .inc();
    }
}
