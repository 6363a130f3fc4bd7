//! Ends of attempts on their way to storage: what they are, and the ways that they take, of which each is bounded.
//! Who sends them is `executor`; `completer` records them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::queue::hands::Hold;
use cofferdam_domain::claim::AttemptEnd;
use cofferdam_domain::task::TaskSpec;
use cofferdam_domain::time::Timestamp;
use cofferdam_storage::large_output;

/// Ends on the way to storage; one more makes its attempt wait.
const QUEUED_MAX: usize = 1024;
/// Ends with a long output that are recorded at once. As many more may be on the way.
pub(crate) const LONG_MAX: usize = 4;

/// An attempt's end on its way to storage.
pub(crate) struct Ended {
    pub(crate) end: AttemptEnd,
    /// When its task was submitted.
    pub(crate) created_at: Timestamp,
    /// Attempts that it may have.
    pub(crate) max_attempts: u32,
    /// Whether it held a place in a batch.
    pub(crate) holds_place: bool,
    /// The module of the attempt.
    pub(crate) spec: Arc<TaskSpec>,
    /// How long it waited to be claimed.
    pub(crate) wait: Duration,
    /// Whether a guest ran.
    pub(crate) ran: bool,
    /// Whether the attempt's output was removed, because storage refused it.
    pub(crate) shrunk: bool,
    /// Its claim is in hand until this is dropped.
    pub(crate) _hold: Hold,
}

/// Where ends are put on the way to storage.
#[derive(Clone, Debug)]
pub(crate) struct Ways {
    short: mpsc::Sender<Ended>,
    long: mpsc::Sender<Ended>,
}

/// Where they come from.
#[derive(Debug)]
pub(crate) struct Arrivals {
    pub(crate) short: mpsc::Receiver<Ended>,
    pub(crate) long: mpsc::Receiver<Ended>,
}

/// The ways of ends to the completer.
pub(crate) fn ways() -> (Ways, Arrivals) {
    let (short, short_ends) = mpsc::channel(QUEUED_MAX);
    let (long, long_ends) = mpsc::channel(LONG_MAX);
    let arrivals = Arrivals {
        short: short_ends,
        long: long_ends,
    };
    (Ways { short, long }, arrivals)
}

impl Ways {
    /// Puts an end on its way; it waits where too many are. Only a killed completer refuses.
    pub(crate) async fn send(&self, ended: Ended) -> Result<(), Refused> {
        let way = match large_output(&ended.end) {
            None => &self.short,
            Some(_) => &self.long,
        };
        way.send(ended).await.map_err(|_| Refused)
    }

    /// The way of ends without a long output, for who does not keep the completer from ending.
    pub(crate) fn weak(&self) -> mpsc::WeakSender<Ended> {
        self.short.downgrade()
    }
}

/// The completer is gone.
#[derive(Debug)]
pub(crate) struct Refused;
