//! The sandbox: what surrounds one run of a guest, and the compiler in front of it.
//!
//! `compile` checks and compiles a module in a child process; `load` maps the compiled artefact;
//! `start` gives a run: a fresh store with every limit armed, driven by polling it like any
//! future. No wasmtime type appears in a signature here, and nothing here knows tasks, queues or
//! databases.

pub mod control;
mod engine;
pub mod files;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncRead;

use crate::domain::attempt::{Outcome, Payload, Streams, Usage};
use crate::domain::grants::Access;
use crate::domain::limits::Limits;
use crate::sandbox::control::Control;

pub use crate::sandbox::files::OutputFiles;

/// Which engine a module is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EngineClass {
    /// Epoch interruption only.
    Fast,
    /// Fuel besides, NaN canonicalisation, a fixed clock and seeded randomness: the same input
    /// gives the same output and the same fuel.
    Metered,
}

impl EngineClass {
    /// Both classes.
    pub const ALL: [EngineClass; 2] = [EngineClass::Fast, EngineClass::Metered];

    /// The class a run under `limits` needs.
    pub fn for_limits(limits: &Limits) -> EngineClass {
        match limits.fuel {
            Some(_) => EngineClass::Metered,
            None => EngineClass::Fast,
        }
    }

    /// The word in file names and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            EngineClass::Fast => "fast",
            EngineClass::Metered => "metered",
        }
    }
}

/// Everything one run is given.
pub struct Run {
    /// What the guest works on. A command reads the body as its standard input unless `stdin`
    /// says otherwise.
    pub input: GuestInput,
    /// Arguments after the program's name.
    pub args: Vec<String>,
    /// Environment variables; nothing of the host's own is added.
    pub env: Vec<(String, String)>,
    /// Standard input, where it is not the input's body.
    pub stdin: Option<Stdin>,
    /// What it may use.
    pub limits: Limits,
    /// Directories of the host it was granted.
    pub dirs: Vec<Mount>,
    /// Who it is.
    pub identity: Identity,
    /// How it is watched and stopped.
    pub control: Control,
}

/// A run's input.
pub enum GuestInput {
    /// In memory.
    Inline(Payload),
    /// A file that appears as `/in/payload`; the inline body is empty.
    File {
        /// Its media type.
        content_type: Arc<str>,
        /// Where it is on the host.
        path: PathBuf,
    },
}

/// Where a guest's standard input comes from.
pub enum Stdin {
    /// These bytes, then the end.
    Bytes(Bytes),
    /// A live stream; reading from it waits.
    Stream(Box<dyn AsyncRead + Send + Sync + Unpin>),
}

/// A host directory as one run sees it.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Where it is on the host.
    pub path: PathBuf,
    /// Where the guest sees it.
    pub at: String,
    /// What the guest may do there.
    pub access: Access,
}

/// What a run is told about itself.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The task's id as text; empty for a run that is no task.
    pub task_id: String,
    /// The attempt's number, from 1.
    pub attempt: u32,
}

/// How a run ended.
#[derive(Debug)]
pub struct Report {
    /// Its result or failure.
    pub outcome: Outcome,
    /// What it used.
    pub usage: Usage,
    /// What it wrote.
    pub streams: Streams,
    /// What it left under `/out` (and for code execution in `/work`).
    pub files: Option<OutputFiles>,
}

/// The sandbox. Cheap to clone; all clones share the engines and the pool.
#[derive(Clone)]
pub struct Sandbox {}

/// A compiled module, mapped and linked.
pub struct LoadedModule {}

/// A run under way: poll it like any future to drive the guest; dropping it ends the guest.
pub struct Running {}

/// Why a module was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// Not a module, not one of the three kinds, or it imports what no grant can give.
    #[error("{0}")]
    Refused(String),
    /// Compiling it takes more time or memory than a module may.
    #[error("{0}")]
    Limit(String),
    /// The compiler itself failed.
    #[error("the compiler failed: {0}")]
    Host(String),
}
