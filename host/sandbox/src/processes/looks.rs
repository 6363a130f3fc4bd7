//! What the host looks at now and then in a process that it does not believe: how much memory it keeps between
//! runs, how old it is, and how much its runs have on disk.
//!
//! The quota of a run is counted inside the process, to the byte and before each write. The look from outside
//! is a bound for one whose counting was broken: what is found beyond all that its runs may have ends it. It
//! cannot see files without a name.

use std::time::{Duration, Instant};

use cofferdam_trees::{Next, open_root, walk};
use rustix::fs::FileType;

use super::process::Process;

/// How often memory and age are looked at.
const MEMORY_EVERY: Duration = Duration::from_secs(1);
/// When a process is old: a day, so that what a defect lets it gather does not stay.
const AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How often the disk is looked at …
const DISK_EVERY: Duration = Duration::from_millis(250);
/// … and how many times as long as a look took there is none.
const DISK_REST: u32 = 20;
/// What may be there besides what runs are counted for: directories, and what is about to be removed.
const SLACK_BYTES: u64 = 16 * 1024 * 1024;
const SLACK_ENTRIES: u64 = 4096;

/// When it was looked last.
pub(super) struct Looks {
    started: Instant,
    memory: Instant,
    disk: Instant,
}

impl Looks {
    pub(super) fn since(started: Instant) -> Looks {
        Looks {
            started,
            memory: started,
            disk: started,
        }
    }

    /// Looks at what it is time for. Retires a process that should end between its runs, and says why one
    /// must not go on.
    pub(super) fn look(&mut self, process: &Process, now: Instant) -> Option<&'static str> {
        if now >= self.memory + MEMORY_EVERY && process.is_idle() {
            self.memory = now;
            let grew = process.own_bytes() > process.most_own_bytes;
            if grew || now > self.started + AGE_MAX {
                tracing::info!(grew, "a process for guests is retired");
                process.retire();
            }
        }
        if now < self.disk {
            return None;
        }
        let fits = fits(process);
        let over = Instant::now();
        self.disk = over + DISK_EVERY.max((over - now) * DISK_REST);
        (!fits).then_some("it has more on disk than its runs may have")
    }
}

/// Whether what is below its home is within what its runs may have.
fn fits(process: &Process) -> bool {
    let Ok(root) = open_root(&process.home.runs()) else {
        // It is about to go.
        return true;
    };
    let (mut bytes, mut entries) = process.disk_most();
    bytes = bytes.saturating_add(SLACK_BYTES);
    entries = entries.saturating_add(SLACK_ENTRIES);
    let mut fits = true;
    let _unread = walk(root, &mut |entry| {
        let size = match entry.kind == FileType::RegularFile {
            true => entry.facts().map_or(0, |facts| facts.size_bytes),
            false => 0,
        };
        match (bytes.checked_sub(size), entries.checked_sub(1)) {
            (Some(left), Some(rest)) => {
                (bytes, entries) = (left, rest);
                Next::Enter
            }
            (_, _) => {
                fits = false;
                Next::Stop
            }
        }
    });
    fits
}
