//! What is counted of the processes that guests run in.

use prometheus_client::registry::Registry;

use super::Metrics;

impl Metrics {
    pub(super) fn register_processes(&self, registry: &mut Registry) {
        registry.register(
            "guest_processes",
            "Processes that isolated guests run in on this host",
            self.processes.clone(),
        );
        registry.register(
            "guest_processes_unchecked",
            "Those of them whose guests compute without checks",
            self.processes_unchecked.clone(),
        );
        registry.register(
            "guest_processes_retired",
            "Such processes that the host ended: with their guest, grown, old or for others",
            self.processes_retired.clone(),
        );
        registry.register(
            "guest_processes_died",
            "Such processes that died under their guests since this host began",
            self.processes_died.clone(),
        );
    }
}
