//! What a history can show broken.

use crate::proof::history::Millis;

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Violation {
    /// An acknowledged task is not in storage.
    Lost { id: String },
    /// Storage has a task that nobody was promised.
    Unasked { id: String },
    /// An acknowledged task never ended.
    NotFinal { id: String, status: String },
    /// One submission became several tasks, or several became one.
    NotIdempotent { ids: Vec<String> },
    /// So many results were accepted of a task in that state.
    Results {
        id: String,
        status: String,
        accepted: usize,
    },
    /// A result is not what was asked for.
    WrongResult { id: String, result: String },
    /// The attempts are not numbered from one without a gap.
    Gap { id: String, numbers: Vec<u32> },
    /// There are more attempts than the policy allows.
    TooMany {
        id: String,
        attempts: usize,
        lost: usize,
    },
    /// A result was accepted of an attempt that no guest began.
    NeverBegan { id: String, attempt: u32 },
    /// A guest began an attempt of which storage knows nothing.
    Unrecorded { id: String, attempt: u32 },
    /// An attempt is dated at instants at which it was not made.
    Misdated { id: String, attempt: u32 },
    /// A guest began so long after a client had read that its task is cancelled.
    BegunAfterCancel { id: String, late_ms: Millis },
    /// The reader of changes was not told of the last one.
    ChangeLost { id: String },
    /// A task that had ended went on.
    Resurrected { id: String },
    /// A task of a dead worker waited too long.
    LateRescue { id: String, waited_ms: Millis },
    /// Storage counts wrongly.
    Miscounted {
        status: String,
        counted: u64,
        are: u64,
    },
}
