//! `[queue]`: how much is claimed, kept and waited for; `[worker]`: what this host tells of itself.

use std::time::Duration;

use cofferdam_domain::task::ClaimOrder;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::worker::{Address, Capability, Profile, WorkerName};

/// The section.
#[derive(Clone, Debug)]
pub struct QueueConfig {
    /// Attempts that run at once on this host; 0 means sixteen per core.
    pub slots: u32,
    /// How many of them there are at least; 0 means all of them.
    pub slots_min: u32,
    /// How long half of the slots must be free before there are fewer.
    pub slots_idle: Duration,
    /// In which order tasks are claimed.
    pub strategy: ClaimOrder,
    /// Tasks that may wait; one more is refused with 503.
    pub pending_max: u64,
    /// Tasks that one bulk change may find.
    pub bulk_tasks_max: u64,
    /// How long a cancelled guest may clean up before it is killed.
    pub cancel_grace: Duration,
    /// How often storage is asked for work without a signal.
    pub poll_interval: Duration,
    /// How often this host records that it is alive.
    pub heartbeat_interval: Duration,
    /// How long a silent host counts as alive: at least three heartbeats.
    pub dead_after: Duration,
    /// How long a final task is kept.
    pub retention: Duration,
    /// How many final tasks are kept.
    pub retention_tasks_max: u64,
    /// How long a dedup key is held.
    pub dedup_window: Duration,
    /// How long running attempts get to finish at shutdown before they are given back.
    pub drain_timeout: Duration,
}

impl Default for QueueConfig {
    fn default() -> QueueConfig {
        QueueConfig {
            slots: 0,
            slots_min: 0,
            slots_idle: Duration::from_secs(30),
            strategy: ClaimOrder::Priority,
            pending_max: 1_000_000,
            bulk_tasks_max: 1_000_000,
            cancel_grace: Duration::from_secs(5),
            poll_interval: Duration::from_secs(1),
            heartbeat_interval: Duration::from_secs(2),
            dead_after: Duration::from_secs(7),
            retention: Duration::from_secs(7 * 24 * 60 * 60),
            retention_tasks_max: 1_000_000,
            dedup_window: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// The section.
#[derive(Clone, Debug, Default)]
pub struct WorkerConfig {
    /// This host's name; that of the machine if absent.
    pub name: Option<WorkerName>,
    /// What tasks may require of it, besides what every host has.
    pub capabilities: Vec<Capability>,
    /// The groups that it belongs to.
    pub groups: Vec<Capability>,
}

impl WorkerConfig {
    /// What a host of that version tells of itself, on a machine of that name.
    pub fn profile(
        &self,
        machine: &str,
        address: Option<Address>,
        version: &str,
        started_at: Timestamp,
    ) -> Profile {
        let mut capabilities = Capability::of_every_worker();
        capabilities.extend_from_slice(&self.capabilities);
        capabilities.extend_from_slice(&self.groups);
        capabilities.sort_unstable();
        capabilities.dedup();
        let name = self.name.clone();
        Profile {
            name: name.unwrap_or_else(|| WorkerName::of_machine(machine)),
            address,
            capabilities,
            version: version.to_owned(),
            started_at,
        }
    }
}
