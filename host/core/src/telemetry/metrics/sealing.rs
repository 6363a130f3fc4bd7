//! What is counted of what is sealed anew.

use prometheus_client::registry::Registry;

use super::Metrics;

/// What is sealed anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Values of tasks in rows.
    Values,
    /// Files, by who has them.
    Files,
}

impl What {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            What::Values => "values",
            What::Files => "files",
        }
    }
}

impl Metrics {
    pub(super) fn register_sealing(&self, registry: &mut Registry) {
        registry.register(
            "sealing_left",
            "What may not be sealed with the first key yet, as far as this host knows: values of tasks, and tasks, \
             inputs and executions whose files are looked at",
            self.sealing_left.clone(),
        );
        registry.register(
            "resealed",
            "What this host has sealed anew with the first key since it started",
            self.resealed.clone(),
        );
    }

    /// Notes how much is left.
    pub(crate) fn set_left(&self, what: What, left: u64) {
        self.sealing_left
            .get_or_create(&[("what", what.as_str())])
            .set(i64::try_from(left).unwrap_or(i64::MAX));
    }

    /// Counts what was sealed anew.
    pub(crate) fn resealed(&self, what: What, more: u64) {
        self.resealed
            .get_or_create(&[("what", what.as_str())])
            .inc_by(more);
    }
}
