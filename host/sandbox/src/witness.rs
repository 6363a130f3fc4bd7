//! What another thread knows of a guest while it runs: enough for the whole report of one that never gives
//! its thread back.
//!
//! It decides nothing. Whoever watches such a guest (`processes/child/watch`) says when it is over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::Report;
use crate::files::SeenFiles;
use crate::interfaces::log::Lines;
use crate::limiter::Reached;
use crate::outcome::{Evidence, Stop, stopped};
use crate::state::GuestState;
use crate::streams::{Output, truncate};
use cofferdam_domain::attempt::{EgressUsage, Outcome, Streams, Usage};
use cofferdam_domain::limits::Limits;
use cofferdam_domain::module::ModuleKind;

/// The witness of one run.
#[derive(Default)]
pub(crate) struct Witness {
    seen: OnceLock<Seen>,
    is_out: AtomicBool,
}

/// Handles of what belongs to the guest's store.
struct Seen {
    began: Instant,
    stdout: Output,
    stderr: Output,
    log: Lines,
    reached: Arc<Reached>,
    files: SeenFiles,
}

/// All that is known of a guest that never gave its thread back.
pub(crate) struct Spent {
    pub(crate) report: Report,
    /// Whether it was refused memory that its limit allows.
    pub(crate) starved: bool,
    /// The number of its directory, which is not taken from it.
    pub(crate) dir: Option<u64>,
}

impl Witness {
    /// Looks at a guest that is about to begin.
    pub(crate) fn see(&self, state: &GuestState) {
        let (stdout, stderr) = state.wasi.outputs();
        // A run has one store.
        self.seen.get_or_init(|| Seen {
            began: state.wasi.started(),
            stdout: stdout.clone(),
            stderr: stderr.clone(),
            log: state.log.lines().clone(),
            reached: state.limiter.reached(),
            files: state.files.seen(),
        });
    }

    /// Notes that the guest gave its thread back for good.
    pub(crate) fn leave(&self) {
        self.is_out.store(true, Ordering::SeqCst);
    }

    /// Whether it did.
    pub(crate) fn is_out(&self) -> bool {
        self.is_out.load(Ordering::SeqCst)
    }

    /// The end of a guest that is stopped where it is, after it used so much CPU time.
    pub(crate) fn end(
        &self,
        stop: Stop,
        kind: ModuleKind,
        limits: &Limits,
        cpu: Duration,
    ) -> Spent {
        let seen = self.seen.get();
        let usage = Usage {
            duration: seen.map_or(Duration::ZERO, |seen| seen.began.elapsed()),
            cpu,
            fuel: None,
            peak_memory_bytes: seen.map_or(0, |seen| seen.reached.peak_bytes()),
            disk_bytes: seen.map_or(0, |seen| seen.files.peak_bytes()),
            // The host counts it.
            egress: EgressUsage::default(),
        };
        let evidence = Evidence {
            kind,
            limits,
            // Nobody asks for these where the host ends a run.
            stack_bytes: 0,
            denied: None,
            fuel: None,
            duration: usage.duration,
            cpu,
        };
        let failure = stopped(stop, &evidence);
        Spent {
            report: Report {
                outcome: Outcome::Failed(failure),
                usage,
                streams: seen.map(|seen| seen.streams(limits)).unwrap_or_default(),
                files: None,
                isolation: None,
            },
            starved: seen.is_some_and(|seen| seen.reached.is_starved()),
            dir: seen.and_then(|seen| seen.files.number()),
        }
    }
}

impl Seen {
    /// What is kept of the streams of a run that failed.
    fn streams(&self, limits: &Limits) -> Streams {
        let mut stdout = self.stdout.take();
        truncate(&mut stdout, limits.stdout_bytes);
        Streams {
            stdout,
            stderr: self.stderr.take(),
            log: self.log.take(),
        }
    }
}
