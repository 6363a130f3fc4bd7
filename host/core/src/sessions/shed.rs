//! Which sessions end when the host is short of memory.
//!
//! What runs is left alone. Who comes back to one that ended is answered as if it had expired.

use super::{SessionId, SessionState, Sessions, lock};
use cofferdam_domain::time::Timestamp;

impl Sessions {
    /// Ends half of the sessions that nobody uses at the moment, at least one, and first what was not used
    /// longest. Returns how many that were.
    pub fn shed(&self) -> usize {
        let mut kept = lock(&self.kept);
        let idle = kept.iter().filter_map(|(id, entry)| {
            let info = lock(&entry.info);
            let used_at = info.expires_at.minus(info.idle_timeout);
            match info.state {
                SessionState::Idle | SessionState::Ended(_) => Some((used_at, *id)),
                SessionState::Running => None,
            }
        });
        let mut idle: Vec<(Timestamp, SessionId)> = idle.collect();
        idle.sort_by_key(|(used_at, id)| (*used_at, id.own()));
        idle.truncate(idle.len().div_ceil(2));
        for (_, id) in &idle {
            if let Some(entry) = kept.remove(id) {
                entry.kill.cancel();
            }
        }
        idle.len()
    }
}
