//! Attempts: one execution of a task, how it ended and what it used.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use crate::module::Digest;
use crate::said;
use crate::time::Timestamp;

/// One incarnation of a host process. A restarted host is another worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WorkerId(pub Uuid);

/// The fence of one claim. It is random and not a counter, so that a database that lost its last
/// commits cannot give out the same fence again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fence(pub u64);

/// The kind of a failure: its stable, machine-readable part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The wall-clock limit.
    Timeout,
    /// The CPU-time limit.
    CpuExhausted,
    /// The fuel limit of the metered engine.
    FuelExhausted,
    /// Linear memories and tables together, or one table's element limit.
    MemoryExceeded,
    /// The guest's stack.
    StackOverflow,
    /// Host memory per call, handles, resources or random bytes.
    HostResourcesExceeded,
    /// The disk quota, if the operator chose to kill.
    DiskExceeded,
    /// The output payload.
    OutputExceeded,
    /// The module says the input can never be processed.
    InvalidInput,
    /// The module says the work failed.
    GuestError,
    /// The guest trapped.
    Trap,
    /// A command ended with a code other than 0.
    Exit,
    /// Somebody cancelled the task.
    Cancelled,
    /// The host died under the attempt.
    Lost,
    /// The host itself failed.
    HostError,
    /// A node of a workflow that was not to run: because of a node before it, of its condition, or because its
    /// workflow was stopped.
    Skipped,
}

impl FailureKind {
    /// Every kind.
    pub const ALL: [FailureKind; 16] = [
        FailureKind::Timeout,
        FailureKind::CpuExhausted,
        FailureKind::FuelExhausted,
        FailureKind::MemoryExceeded,
        FailureKind::StackOverflow,
        FailureKind::HostResourcesExceeded,
        FailureKind::DiskExceeded,
        FailureKind::OutputExceeded,
        FailureKind::InvalidInput,
        FailureKind::GuestError,
        FailureKind::Trap,
        FailureKind::Exit,
        FailureKind::Cancelled,
        FailureKind::Lost,
        FailureKind::HostError,
        FailureKind::Skipped,
    ];

    /// The stable word of the API, of storage and of metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            FailureKind::Timeout => "timeout",
            FailureKind::CpuExhausted => "cpu_exhausted",
            FailureKind::FuelExhausted => "fuel_exhausted",
            FailureKind::MemoryExceeded => "memory_exceeded",
            FailureKind::StackOverflow => "stack_overflow",
            FailureKind::HostResourcesExceeded => "host_resources_exceeded",
            FailureKind::DiskExceeded => "disk_exceeded",
            FailureKind::OutputExceeded => "output_exceeded",
            FailureKind::InvalidInput => "invalid_input",
            FailureKind::GuestError => "guest_error",
            FailureKind::Trap => "trap",
            FailureKind::Exit => "exit",
            FailureKind::Cancelled => "cancelled",
            FailureKind::Lost => "lost",
            FailureKind::HostError => "host_error",
            FailureKind::Skipped => "skipped",
        }
    }

    /// The kind with that name.
    pub fn parse(word: &str) -> Option<FailureKind> {
        FailureKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
}

/// Why an attempt gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The stable kind.
    pub kind: FailureKind,
    /// One or two sentences for people, with the figures (used, allowed) where a limit was met.
    pub message: String,
    /// The guest's backtrace, for a trap.
    pub backtrace: Option<String>,
    /// For [`FailureKind::GuestError`]: whether the module says it may pass.
    pub transient: bool,
    /// For [`FailureKind::Exit`]: the code.
    pub exit_code: Option<i32>,
}

impl Failure {
    /// A failure with only its kind and message, which may contain a guest's text.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Failure {
        Failure {
            kind,
            message: said::cut(message, said::MESSAGE_BYTES_MAX),
            backtrace: None,
            transient: false,
            exit_code: None,
        }
    }
}

/// Bytes with their media type: an input or an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// A media type. Shared text: most payloads are `application/json`.
    pub content_type: Arc<str>,
    /// The bytes.
    pub body: Bytes,
}

impl Payload {
    /// JSON.
    pub fn json(body: impl Into<Bytes>) -> Payload {
        Payload {
            content_type: "application/json".into(),
            body: body.into(),
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It gave this output. A command's output is its standard output.
    Completed(Payload),
    /// It failed.
    Failed(Failure),
}

impl Outcome {
    /// The kind of the failure, if it is one.
    pub fn failure_kind(&self) -> Option<FailureKind> {
        match self {
            Outcome::Completed(_) => None,
            Outcome::Failed(failure) => Some(failure.kind),
        }
    }
}

/// What an attempt used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Wall-clock time from the fresh store to its end.
    pub duration: Duration,
    /// CPU time of the threads that ran it.
    pub cpu: Duration,
    /// Fuel, on the metered engine.
    pub fuel: Option<u64>,
    /// The most that linear memories and tables held at once.
    pub peak_memory_bytes: u64,
    /// The most that its files held at once.
    pub disk_bytes: u64,
    /// What it sent to other machines and got from them.
    pub egress: EgressUsage,
}

/// Requests to other machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EgressUsage {
    /// Those that were sent, or refused.
    pub requests: u64,
    /// Bytes that came in, on all connections.
    pub in_bytes: u64,
    /// Bytes that went out.
    pub out_bytes: u64,
}

impl Usage {
    /// The wall-clock time in whole microseconds, as in every answer.
    pub fn duration_us(&self) -> u64 {
        micros(self.duration)
    }

    /// The CPU time in whole microseconds.
    pub fn cpu_us(&self) -> u64 {
        micros(self.cpu)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// One of the three texts an attempt leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// What the guest wrote to its standard output.
    Stdout,
    /// What the guest wrote to its standard error.
    Stderr,
    /// The lines of the `log` interface.
    Log,
}

impl Stream {
    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
            Stream::Log => "log",
        }
    }
}

/// The beginning of a stream, as far as its limit allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// The bytes kept.
    pub bytes: Bytes,
    /// Whether more was written than kept.
    pub truncated: bool,
}

impl Captured {
    /// The kept bytes as text; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// The three streams of an attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// Standard output; empty for a completed command, whose output it is.
    pub stdout: Captured,
    /// Standard error.
    pub stderr: Captured,
    /// Log lines, one JSON object a line.
    pub log: Captured,
}

/// The longest path of an artifact.
pub const ARTIFACT_PATH_BYTES_MAX: usize = 1024;

/// Entries under `/out` that did not become artifacts, by their reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Symbolic links, which lead elsewhere.
    pub symbolic_links: u64,
    /// Pipes, sockets and devices.
    pub special_files: u64,
    /// Files whose path is not UTF-8.
    pub names_not_utf8: u64,
    /// Files whose path has more than [`ARTIFACT_PATH_BYTES_MAX`].
    pub long_paths: u64,
    /// Files beyond what one list holds.
    pub too_many: u64,
    /// Entries that could not be read.
    pub unreadable: u64,
}

impl LeftOut {
    /// Each reason by name, with its count.
    pub fn reasons(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let LeftOut {
            symbolic_links,
            special_files,
            names_not_utf8,
            long_paths,
            too_many,
            unreadable,
        } = *self;
        [
            ("symbolic_links", symbolic_links),
            ("special_files", special_files),
            ("names_not_utf8", names_not_utf8),
            ("long_paths", long_paths),
            ("too_many", too_many),
            ("unreadable", unreadable),
        ]
        .into_iter()
        .filter(|(_, count)| *count > 0)
    }

    /// The sum of both.
    pub fn plus(self, other: LeftOut) -> LeftOut {
        LeftOut {
            symbolic_links: self.symbolic_links + other.symbolic_links,
            special_files: self.special_files + other.special_files,
            names_not_utf8: self.names_not_utf8 + other.names_not_utf8,
            long_paths: self.long_paths + other.long_paths,
            too_many: self.too_many + other.too_many,
            unreadable: self.unreadable + other.unreadable,
        }
    }
}

/// A file that the guest left under `/out`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The path below `/out`, with `/` between its parts.
    pub path: String,
    /// The file's length.
    pub size_bytes: u64,
}

/// An attempt as it is listed.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: u32,
    /// The worker that ran it.
    pub worker: WorkerId,
    /// The version of the module it ran.
    pub digest: Digest,
    /// When it was claimed.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Why it failed; absent if it completed.
    pub failure: Option<Failure>,
    /// What it used.
    pub usage: Usage,
    /// The length of its output.
    pub result_bytes: u64,
    /// Which streams were truncated: stdout, stderr, log.
    pub truncated: [bool; 3],
    /// The files it left.
    pub artifacts: Vec<Artifact>,
    /// The entries it left that are not artifacts.
    pub left_out: LeftOut,
}

#[cfg(test)]
mod tests;
