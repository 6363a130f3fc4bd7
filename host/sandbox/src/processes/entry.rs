//! A run in another process, as the host keeps it: who hears of it, what it may have, and when it must have
//! ended. What happens to it is elsewhere.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::messages::Told;
use crate::Report;
use crate::admission::{Admitted, Growth};
use crate::control::Observer;
use crate::egress::Pass;
use crate::files::Given;
use crate::local::Ended;
use cofferdam_domain::attempt::EgressUsage;
use cofferdam_domain::limits::Limits;

/// What a message may be longer than what its run may write.
const SLACK_BYTES: u64 = 1024 * 1024;

/// A run of it.
pub(super) struct Entry {
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) growth: Growth,
    pub(super) limits: Limits,
    pub(super) reply: Option<oneshot::Sender<Reply>>,
    pub(super) wants: Option<mpsc::Sender<()>>,
    /// When it must have ended.
    pub(super) end_by: Option<Instant>,
    /// What the process may have used by the time it has ended, where it has the process for itself.
    pub(super) cpu_by: Option<Duration>,
    /// What it had used when it was found to be past that.
    pub(super) overused: Option<Duration>,
    /// How it ended, of a guest that still computes, and what the process had used.
    pub(super) last: Option<(Told, Vec<Bytes>)>,
    pub(super) cpu_after: Option<Duration>,
    /// Orders about it that were sent, or are being sent.
    pub(super) orders: u32,
    /// Why it must, if somebody asked for it.
    pub(super) stopped: bool,
    /// The panic of whoever observed it.
    pub(super) panicked: Option<String>,
    pub(super) began: Instant,
    /// What the process had used when it began.
    pub(super) cpu_before: Duration,
    pub(super) room: Option<OwnedSemaphorePermit>,
    /// The directory of a guest that is kept.
    pub(super) dir: Option<u64>,
    /// What it was given, which may be on disk as well.
    pub(super) input_bytes: u64,
    /// Where it may send requests to, and its account of these.
    pub(super) pass: Option<Arc<Pass>>,
    /// Files that were given to it.
    pub(super) given: Vec<Given>,
    /// The last, because room is free only when the guest is gone.
    pub(super) _admitted: Admitted,
}

/// What becomes of a run.
pub(super) enum Reply {
    /// The guest is kept.
    Opened,
    /// A call ended and the guest is kept.
    Answered(Box<Report>),
    /// The run is over.
    Ended(Box<Ended>),
}

impl Entry {
    /// What it sent to other machines, which the host counted.
    pub(super) fn egress(&self) -> EgressUsage {
        let pass = self.pass.as_ref();
        pass.map(|pass| pass.account().usage()).unwrap_or_default()
    }

    /// Whether files were given to it, which are removed with it.
    pub(super) fn has_files(&self) -> bool {
        !self.given.is_empty()
    }

    /// The most bytes of a message about it.
    pub(super) fn most_bytes(&self) -> usize {
        let limits = &self.limits;
        let most = limits
            .output_bytes
            .saturating_mul(2)
            .saturating_add(limits.stdout_bytes)
            .saturating_add(limits.stderr_bytes)
            .saturating_add(limits.log_bytes)
            .saturating_add(SLACK_BYTES);
        usize::try_from(most).unwrap_or(usize::MAX)
    }
}
