//! The figures of the audit trail.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::{Metrics, Word};

/// Entries and failures.
#[derive(Debug, Default)]
pub(super) struct Trail {
    entries: Family<Word, Counter>,
    failed: Counter,
}

impl Trail {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "audit_entries",
            "Entries that this host appended to the audit trail, by class",
            self.entries.clone(),
        );
        registry.register(
            "audit_appends_failed",
            "Tries to append to the audit trail that failed; such entries are tried again",
            self.failed.clone(),
        );
    }
}

impl Metrics {
    /// Counts an entry of the audit trail.
    pub fn audit_appended(&self, class: &'static str) {
        self.trail.entries.get_or_create(&[("class", class)]).inc();
    }

    /// Counts entries that storage did not take.
    pub fn audit_append_failed(&self) {
        self.trail.failed.inc();
    }
}
