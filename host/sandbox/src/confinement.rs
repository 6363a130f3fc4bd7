//! How the host confines itself, before it has a second thread: what it can open and reach afterwards is
//! what its configuration names, and it can start no other program than itself.
//!
//! This limits what a defect of the host gives to whoever uses it: a request, a row or a guest that shares
//! its process. What it starts inherits all of it, and its compiling children and the processes of its
//! guests confine themselves further (`compile/confine`, `processes/jail`). Where the kernel has a part of it
//! not, the rest still holds, and the host says what does.

mod calls;
mod files;
#[cfg(feature = "fault-injection")]
mod probe;

use std::io;
use std::path::PathBuf;

pub(crate) use self::calls::OF_GUESTS;

use rustix::process::{DumpableBehavior, Resource, Rlimit, setrlimit};

/// What the host needs of the machine, beside what every program does and what it has open already: it
/// listens before it is confined, and nowhere else afterwards.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Directories that it writes to.
    pub written: Vec<PathBuf>,
    /// Files and directories that it reads.
    pub read: Vec<PathBuf>,
    /// Whether it calls other machines.
    pub calls_out: bool,
}

/// How far the kernel confines the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confinement {
    /// Files, ports and signals, by Landlock.
    pub landlock: bool,
    /// System calls, by seccomp.
    pub seccomp: bool,
}

impl Confinement {
    /// Whether all of it is in force.
    pub fn is_whole(self) -> bool {
        self.landlock && self.seccomp
    }
}

/// Confines this process and all that it starts. It must not have a second thread yet.
pub fn confine(reach: &Reach) -> io::Result<Confinement> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    rustix::thread::set_no_new_privs(true)?;
    let confinement = Confinement {
        landlock: files::close(reach),
        seccomp: calls::close(),
    };
    #[cfg(feature = "fault-injection")]
    let confinement = probe::as_told(confinement);
    #[cfg(feature = "fault-injection")]
    probe::report();
    Ok(confinement)
}
