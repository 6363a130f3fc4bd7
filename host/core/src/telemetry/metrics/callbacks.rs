//! What is counted of callbacks.

use prometheus_client::registry::Registry;

use super::Metrics;

impl Metrics {
    pub(super) fn register_callbacks(&self, registry: &mut Registry) {
        registry.register(
            "callbacks",
            "Tries to tell of an ended task, by what became of them",
            self.callbacks.clone(),
        );
        registry.register(
            "callback_hosts_held",
            "Hosts that this one tells nothing for now, because they failed again and again",
            self.callback_hosts_held.clone(),
        );
    }

    /// Counts a try to tell of an end: `delivered`, `missed` or `given_up`.
    pub fn callback_tried(&self, outcome: &'static str) {
        self.callbacks.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Ends that were given up here since the start.
    pub fn callbacks_given_up(&self) -> u64 {
        self.callbacks
            .get_or_create(&[("outcome", "given_up")])
            .get()
    }
}
