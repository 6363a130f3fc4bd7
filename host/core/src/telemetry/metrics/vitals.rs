//! What the host says of itself: its memory, what it does about a shortage, and the rules that fire.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::{Metrics, Readings, Word, signed};
use cofferdam_domain::alert::Rule;

/// The gauges, and what is counted for rules.
#[derive(Debug, Default)]
pub(super) struct Vitals {
    alerts: Family<Word, Gauge>,
    pressure: Gauge,
    memory: Gauge,
    limit: Gauge,
}

impl Vitals {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "alert",
            "1 for each rule that fires on this host",
            self.alerts.clone(),
        );
        registry.register(
            "memory_pressure",
            "What this host does about a shortage of memory: 0 nothing, 1 gives up caches, 2 claims nothing, 3 refuses work",
            self.pressure.clone(),
        );
        registry.register_with_unit(
            "host_memory",
            "Memory of this host with its children, or of its control group if that is limited",
            Unit::Bytes,
            self.memory.clone(),
        );
        registry.register_with_unit(
            "host_memory_limit",
            "What that may become, by the control group or the machine",
            Unit::Bytes,
            self.limit.clone(),
        );
    }

    pub(super) fn set(&self, readings: &Readings) {
        for (rule, fires) in Rule::ALL.into_iter().zip(readings.alerts) {
            self.alerts
                .get_or_create(&[("rule", rule.as_str())])
                .set(i64::from(fires));
        }
        self.pressure.set(readings.pressure as i64);
        self.memory.set(signed(readings.host_memory_bytes));
        self.limit.set(signed(readings.host_memory_limit_bytes));
    }
}

impl Metrics {
    /// Tasks that became dead letters here since the start.
    pub fn dead(&self) -> u64 {
        self.dead.get()
    }
}
