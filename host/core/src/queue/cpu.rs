//! Tells storage, with each heartbeat, what tenants have used of their CPU time here, hears what they have used
//! everywhere, and holds the tasks of those back that have used up their day. They wait where they are; once the
//! day is over, or the quota is raised, they are claimed as before.

use crate::queue::shared::Shared;

/// Tells and hears once. A storage that cannot be told is told the more at the next heartbeat.
pub(super) async fn share(shared: &Shared) {
    let book = shared.admission.cpu();
    let spent = book.take();
    match shared.storage.use_cpu(spent.day, spent.used).await {
        Ok(totals) => book.told(spent.day, totals),
        Err(error) => tracing::warn!(%error, "the CPU time of tenants was not recorded"),
    }
    if shared.storage.hold_back(book.used_up()) {
        // Some may be let go.
        shared.work.notify_one();
    }
}
