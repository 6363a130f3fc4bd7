//! What is counted of the result cache.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::{Metrics, Readings, Word, signed};
use cofferdam_domain::cache::{CacheTier, CacheUse};

/// Look-ups and sizes.
#[derive(Debug, Default)]
pub(super) struct Cache {
    asked: Family<Word, Counter>,
    hits: Family<Word, Counter>,
    results: Family<Word, Gauge>,
    bytes: Family<Word, Gauge>,
}

impl Cache {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "cache_lookups",
            "Runs that asked the result cache, by where their result came from",
            self.asked.clone(),
        );
        registry.register(
            "cache_hits",
            "Results that were found, by where they were kept",
            self.hits.clone(),
        );
        registry.register(
            "cache_results",
            "Results that are kept, by where",
            self.results.clone(),
        );
        registry.register_with_unit(
            "cache",
            "Memory or disk space of the results that are kept, by where",
            Unit::Bytes,
            self.bytes.clone(),
        );
    }

    pub(super) fn set(&self, readings: &Readings) {
        for (tier, (results, bytes)) in CacheTier::ALL.iter().zip(readings.cache) {
            let tier = [("tier", tier.as_str())];
            self.results.get_or_create(&tier).set(signed(results));
            self.bytes.get_or_create(&tier).set(signed(bytes));
        }
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

    /// Counts a result that was found.
    pub fn cache_hit(&self, tier: CacheTier) {
        self.cache
            .hits
            .get_or_create(&[("tier", tier.as_str())])
            .inc();
    }
}
