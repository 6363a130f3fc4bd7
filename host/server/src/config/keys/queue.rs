//! The keys of `[queue]`.

use std::time::Duration;

use super::{DAY_MS, Key, Kind, millis};
use cofferdam::queue::BULK_TASKS_MAX;
use cofferdam_domain::task::ClaimOrder;

pub(super) fn keys() -> Vec<Key> {
    let mut keys = claims();
    keys.extend(times());
    keys
}

/// How much is claimed, and in which order.
fn claims() -> Vec<Key> {
    vec![
        number!("queue", "slots", 0..=100_000, "Attempts that run at once on this host; 0 means sixteen per core.", queue.slots: u32),
        number!("queue", "slots_min", 0..=100_000, "The fewest slots: their number is doubled while due tasks wait and all are taken, up to slots, and halved when half of them were free for slots_idle_ms; 0 means that there are always as many as slots says.", queue.slots_min: u32),
        millis!(
            "queue",
            "slots_idle_ms",
            0..=3_600_000,
            "How long half of the slots must be free before there are fewer.",
            queue.slots_idle
        ),
        Key {
            section: "queue",
            name: "strategy",
            doc: "The order in which tasks are claimed.",
            kind: Kind::Text {
                form: "priority, fifo or lifo",
                get: |config| order_word(config.queue.strategy).to_owned(),
                set: |config, text| {
                    let orders = [ClaimOrder::Priority, ClaimOrder::Fifo, ClaimOrder::Lifo];
                    let order = orders.into_iter().find(|order| order_word(*order) == text);
                    order.map(|order| config.queue.strategy = order).is_some()
                },
            },
        },
        number!("queue", "running_per_module_max", 0..=1_000_000, "Attempts of the tasks of one module that may be under way, over all hosts; 0 means any number.", storage.claims.running_per_module_max: u32),
        number!("queue", "running_per_tenant_max", 0..=1_000_000, "Attempts of the tasks of one tenant that may be under way, over all hosts; 0 means any number.", storage.claims.running_per_tenant_max: u32),
        millis!(
            "queue",
            "ageing_ms",
            0..=(365 * DAY_MS),
            "How long a task waits behind tasks of higher priorities before every eighth turn is for such tasks, the oldest first; 0 means for ever.",
            storage.claims.ageing
        ),
        millis!(
            "queue",
            "preferred_grace_ms",
            0..=600_000,
            "How long a task waits for its preferred_worker before any other takes it.",
            storage.claims.preferred_grace
        ),
    ]
}

/// How much is kept, and what is waited for.
fn times() -> Vec<Key> {
    vec![
        number!("queue", "pending_max", 1..=1_000_000_000, "Tasks that may wait; one more is refused with 503.", queue.pending_max: u64),
        number!("queue", "bulk_tasks_max", 1..=BULK_TASKS_MAX, "Tasks that one bulk change may find.", queue.bulk_tasks_max: u64),
        millis!(
            "queue",
            "cancel_grace_ms",
            0..=600_000,
            "How long a cancelled guest may clean up before it is killed.",
            queue.cancel_grace
        ),
        millis!(
            "queue",
            "poll_interval_ms",
            10..=600_000,
            "How often storage is asked for work without a signal.",
            queue.poll_interval
        ),
        millis!(
            "queue",
            "heartbeat_interval_ms",
            100..=600_000,
            "How often this host tells the others that it is alive.",
            queue.heartbeat_interval
        ),
        millis!(
            "queue",
            "dead_after_ms",
            1000..=3_600_000,
            "How long a silent host counts as alive: at least three heartbeats. A host that cannot be heard ends its attempts after four fifths of that.",
            queue.dead_after
        ),
        millis!(
            "queue",
            "retention_ms",
            1000..=(3650 * DAY_MS),
            "How long a final task is kept.",
            queue.retention
        ),
        number!("queue", "retention_tasks_max", 0..=1_000_000_000, "How many final tasks are kept.", queue.retention_tasks_max: u64),
        millis!(
            "queue",
            "dedup_window_ms",
            0..=(365 * DAY_MS),
            "How long a dedup key is held.",
            queue.dedup_window
        ),
        millis!(
            "queue",
            "drain_timeout_ms",
            0..=3_600_000,
            "How long running attempts get to finish at shutdown.",
            queue.drain_timeout
        ),
    ]
}

fn order_word(order: ClaimOrder) -> &'static str {
    match order {
        ClaimOrder::Priority => "priority",
        ClaimOrder::Fifo => "fifo",
        ClaimOrder::Lifo => "lifo",
    }
}
