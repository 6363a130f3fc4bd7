//! Guest processes: who asks for one, and what becomes of a run, its task, its host and everybody else when
//! a process dies, stands still or misbehaves.
//!
//! `tests/guests/fault.wat` does to its process what an exploited defect of the runtime could do; only test
//! builds of the host have the function that it calls.

mod dedicated;
mod ends;
mod faults;
mod limits;
mod words;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::support::host::Host;

/// How long processes may take to come and go.
const SETTLING: Duration = Duration::from_secs(20);

/// The word that the host starts a process for guests with.
const WORD: &[u8] = b"guest-process";

/// The living guest processes of a host, whoever their parent is.
fn guest_processes(host: &Host) -> BTreeSet<u32> {
    children(host.pid())
        .into_iter()
        .filter(|pid| {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            command.split(|byte| *byte == 0).any(|word| word == WORD)
        })
        .collect()
}

/// The children of a process that live, by `/proc`.
fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("processes are listed");
    let numbers = processes.flatten().filter_map(|entry| {
        let name = entry.file_name();
        name.to_str()?.parse::<u32>().ok()
    });
    numbers
        .filter(|pid| stat(*pid).is_some_and(|(state, ppid)| ppid == parent && state != 'Z'))
        .collect()
}

/// The state and the parent of a process.
fn stat(pid: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Whether a process lives; one that nobody has buried does not.
fn lives(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != 'Z')
}

/// Whether a process was stopped.
fn stands_still(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state == 'T')
}

/// Waits until something is so.
#[track_caller]
fn await_that(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + SETTLING;
    while !is_so() {
        assert!(Instant::now() < deadline, "it is not so: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
