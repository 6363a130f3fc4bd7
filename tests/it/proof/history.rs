//! What happened: told by clients, by guests, by a reader who follows the changes, and by storage at the
//! end. [`check`](super::check) judges it.
//!
//! Instants are milliseconds since the Unix epoch by this machine's clock, which is the database's too.

use std::collections::BTreeMap;

/// Milliseconds since the Unix epoch.
pub(crate) type Millis = i64;

/// How often a task of these tests may be tried, and how often it may be lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) max_attempts: u32,
    pub(crate) max_lost: u32,
}

/// One history.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// When it began and ended.
    pub(crate) span: (Millis, Millis),
    pub(crate) submits: Vec<Submit>,
    pub(crate) cancels: Vec<Cancel>,
    pub(crate) reads: Vec<Read>,
    pub(crate) begun: Vec<Begun>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) stalls: Vec<Stall>,
    pub(crate) outages: Vec<Outage>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) attempts: Vec<Attempt>,
    /// Tasks by state, as storage counted them.
    pub(crate) counted: BTreeMap<String, u64>,
}

/// A submit that was acknowledged. What was submitted is known by its key.
#[derive(Clone, Debug)]
pub(crate) struct Submit {
    pub(crate) key: u64,
    pub(crate) id: String,
}

/// A client has read that a task is cancelled.
#[derive(Clone, Debug)]
pub(crate) struct Cancel {
    pub(crate) id: String,
    pub(crate) at: Millis,
}

/// A client has read a result.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) id: String,
    pub(crate) result: String,
}

/// A guest has noted that it began.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    pub(crate) id: String,
    pub(crate) attempt: u32,
    pub(crate) at: Millis,
}

/// The reader of changes has seen a task like this.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) id: String,
    pub(crate) status: String,
    pub(crate) attempt: u32,
}

/// A worker did nothing from one instant to another, or died if it never did anything again.
#[derive(Clone, Debug)]
pub(crate) struct Stall {
    pub(crate) worker: String,
    pub(crate) from: Millis,
    pub(crate) to: Option<Millis>,
}

/// Nobody could use the database.
#[derive(Clone, Debug)]
pub(crate) struct Outage {
    pub(crate) from: Millis,
    pub(crate) to: Millis,
    /// Whether it may have forgotten what was not on the disk.
    pub(crate) crash: bool,
}

/// A task in storage at the end.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) id: String,
    pub(crate) status: String,
    pub(crate) attempt: u32,
}

/// An attempt in storage at the end.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) id: String,
    pub(crate) number: u32,
    pub(crate) worker: String,
    pub(crate) started_at: Millis,
    pub(crate) finished_at: Millis,
    /// The kind of its failure, unless it gave this result.
    pub(crate) ended: Result<String, String>,
}
