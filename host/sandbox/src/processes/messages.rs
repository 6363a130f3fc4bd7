//! What the host and a process that runs guests say to one another, and how runs and their results are
//! written for it.
//!
//! The domain's types are not serialised themselves, so what is sent is spelled out here. What comes back is
//! held to the run's limits by whoever reads it.

mod spec;
mod told;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(super) use self::spec::{Spec, WireStdin};
pub(super) use self::told::{Told, ToldDescription};

use crate::settings::OverQuota;
use crate::{EngineClass, RunSpec};
use cofferdam_domain::grants::Access;
use cofferdam_domain::module::{Language, ModuleKind};

/// The number of what is about no run.
pub(super) const NO_RUN: u32 = 0;

/// What the host says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// The first message: what the process is for. The descriptors of the code and of the socket for
    /// questions come with it.
    Begin(Begin),
    /// Run a guest. The pieces are the input, standard input, and the files.
    Run(Box<Spec>),
    /// Ask the module to describe itself. The pieces are the same, and the output is a description.
    Describe(Box<Spec>),
    /// Make a guest that is kept. The pieces are the same.
    Open(Box<Spec>),
    /// Call it. The pieces are the input and standard input.
    Call(Call),
    /// The guest is to end by itself.
    Cancel,
    /// End the guest at once. One that is kept is asked for its files in this way too.
    Kill,
    /// The next piece of a live standard input.
    Input(Piece),
}

/// What the process says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Event {
    /// It is ready for runs.
    Ready(Jail),
    /// It cannot be used.
    Unfit(String),
    /// The guest wrote the piece: to standard output, standard error or its log.
    Wrote(u8),
    /// The guest reported progress.
    Progress(f64, String),
    /// The guest wants more of its live standard input.
    Wants,
    /// The guest is kept, in the directory with this number.
    Opened(Option<u64>),
    /// A call ended and the guest is kept. The pieces are those of `Ended`.
    Answered(Box<Told>),
    /// The run is over. The pieces are the output and the three streams.
    Ended(Box<Told>),
}

/// How far the kernel confines the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jail {
    /// Files and network, by Landlock.
    pub landlock: bool,
    /// System calls, by seccomp.
    pub seccomp: bool,
    /// Whether it has a network, mounts and names of its own, which are empty.
    pub namespaces: bool,
}

impl Jail {
    /// Whether all of it is in force.
    pub fn is_whole(self) -> bool {
        self.landlock && self.seccomp && self.namespaces
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Begin {
    pub(super) class: Class,
    pub(super) kind: Kind,
    pub(super) stack_bytes: usize,
    pub(super) instances: u32,
    pub(super) keep_resident_bytes: usize,
    pub(super) over_quota_kills: bool,
    pub(super) runs: PathBuf,
    pub(super) given: PathBuf,
    pub(super) dirs: Vec<Dir>,
    /// The most memory of all its guests together.
    pub(super) memory_bytes: u64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Class {
    Fast,
    Metered,
    Interpreter,
    Unchecked,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Kind {
    Task,
    Command,
    CoreCommand,
    Python,
    JavaScript,
}

/// A granted directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Dir {
    pub(super) path: PathBuf,
    pub(super) writable: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Call {
    pub(super) content_type: String,
    pub(super) timeout: Duration,
    pub(super) cpu: Duration,
    /// What is left of its time.
    pub(super) time: Duration,
    pub(super) now_ms: i64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Piece {
    Bytes,
    End,
    Failed(String),
}

impl From<EngineClass> for Class {
    fn from(class: EngineClass) -> Class {
        match class {
            EngineClass::Fast => Class::Fast,
            EngineClass::Metered => Class::Metered,
            EngineClass::Interpreter => Class::Interpreter,
            EngineClass::Unchecked => Class::Unchecked,
        }
    }
}

impl From<Class> for EngineClass {
    fn from(class: Class) -> EngineClass {
        match class {
            Class::Fast => EngineClass::Fast,
            Class::Metered => EngineClass::Metered,
            Class::Interpreter => EngineClass::Interpreter,
            Class::Unchecked => EngineClass::Unchecked,
        }
    }
}

impl Kind {
    /// What can be run; a script is run by its interpreter.
    pub(super) fn of(kind: ModuleKind) -> Option<Kind> {
        match kind {
            ModuleKind::Task => Some(Kind::Task),
            ModuleKind::Command => Some(Kind::Command),
            ModuleKind::CoreCommand => Some(Kind::CoreCommand),
            ModuleKind::Interpreter(Language::Python) => Some(Kind::Python),
            ModuleKind::Interpreter(Language::JavaScript) => Some(Kind::JavaScript),
            ModuleKind::Script(_) => None,
        }
    }
}

impl From<Kind> for ModuleKind {
    fn from(kind: Kind) -> ModuleKind {
        match kind {
            Kind::Task => ModuleKind::Task,
            Kind::Command => ModuleKind::Command,
            Kind::CoreCommand => ModuleKind::CoreCommand,
            Kind::Python => ModuleKind::Interpreter(Language::Python),
            Kind::JavaScript => ModuleKind::Interpreter(Language::JavaScript),
        }
    }
}

impl Begin {
    pub(super) fn over_quota(&self) -> OverQuota {
        match self.over_quota_kills {
            true => OverQuota::Kill,
            false => OverQuota::Refuse,
        }
    }
}

/// Whether a guest may change what is in such a directory.
pub(super) fn is_writable(access: Access) -> bool {
    match access {
        Access::Read => false,
        Access::Write => true,
    }
}

/// The granted directories of a run, in one order, whatever a guest sees them as.
pub(super) fn dirs_of(spec: &RunSpec) -> Vec<Dir> {
    let dirs = spec.dirs.iter().map(|mount| Dir {
        path: mount.path.clone(),
        writable: is_writable(mount.access),
    });
    let mut dirs: Vec<Dir> = dirs.collect();
    dirs.sort_by(|a, b| (&a.path, a.writable).cmp(&(&b.path, b.writable)));
    dirs.dedup();
    dirs
}
