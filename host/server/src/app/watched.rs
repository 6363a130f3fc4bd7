//! What the host watches of itself, from the parts that run by then.

use std::sync::Arc;

use super::works::Works;
use crate::config::Config;
use crate::http;
use cofferdam::callbacks::Callbacks;
use cofferdam::queue::SharedQueue;
use cofferdam::sessions::Sessions;
use cofferdam::shutdown::Shutdown;
use cofferdam::vitals::{Parts, Vitals};
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::clock::Clock;
use cofferdam_domain::worker::Profile;
use cofferdam_storage::Opened;
use cofferdam_storage::disk::Disk;

/// Begins to watch, until `intake` is requested; `machine` is this machine's clock.
pub(super) fn start(
    config: &Config,
    (storage, works): (&Opened, &Works),
    (queue, sessions, callbacks): (&SharedQueue, &Arc<Sessions>, &Arc<Callbacks>),
    (worker, profile, machine, seed): (WorkerId, &Profile, Clock, u64),
    intake: &Shutdown,
) -> Arc<Vitals> {
    let parts = Parts {
        queue: Arc::clone(queue),
        runner: Arc::clone(&works.runner),
        sessions: Arc::clone(sessions),
        callbacks: Arc::clone(callbacks),
        reads: Arc::clone(&storage.reads),
        files: works.files.clone(),
        disk: Disk::new(&config.storage.data, config.storage.disk_free_min_bytes),
        metrics: Arc::clone(&works.metrics),
        clock: storage.clock.clone(),
        machine,
        pressure: works.pressure.clone(),
        config: config.alerts.clone(),
        egress: config.sandbox.egress.clone(),
        write: http::alert_messages(worker, profile),
        seed,
    };
    Vitals::start(parts, intake)
}
