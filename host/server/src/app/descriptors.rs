//! How many files, pipes and connections this process may hold open, and how many of them clients
//! get.
//!
//! Without free descriptors anything can fail: a guest's directories, the compiler's pipes, the
//! database. So connections, which strangers open, never get them all.

use crate::http::server::places::RESERVED;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The share of all descriptors that connections leave free.
const RESERVED_PART: usize = 2;

/// Raises the limit as far as an unprivileged process may. Returns how many connections may be
/// open: `wanted`, or fewer if the limit is too low.
pub(super) fn connections_max(wanted: usize) -> usize {
    let granted = raise().map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    });
    let allowed = (granted / RESERVED_PART).saturating_sub(RESERVED).max(1);
    if allowed < wanted {
        tracing::warn!(
            descriptors = granted,
            wanted,
            allowed,
            "too few descriptors (ulimit -n) for http.connections_max; fewer connections are served at once"
        );
    }
    wanted.min(allowed)
}

/// The present limit; `None` if there is none.
fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::debug!(%error, "the limit of descriptors could not be raised");
            current
        }
    }
}
