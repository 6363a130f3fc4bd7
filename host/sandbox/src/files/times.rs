//! The file times that a guest sees.
//!
//! The file system stamps files with the machine's clock. A guest sees those times as coarsely as
//! its own clock, and on the metered engine as that engine's fixed instant. A time that the guest
//! itself set stays exact.

use std::collections::HashSet;

use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorStat, NewTimestamp};

use crate::clocks::{FIXED_WALL, STEP_NS};

/// The clock of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileClock {
    /// The machine's time, rounded.
    Coarse,
    /// The same instant always.
    Fixed,
}

/// How many times set by a guest are remembered; later ones are shown rounded.
const GIVEN_MAX: usize = 4096;

/// The times of one run's files.
#[derive(Debug)]
pub(super) struct Times {
    clock: FileClock,
    given: HashSet<(u64, u32)>,
}

impl Times {
    pub(super) fn new(clock: FileClock) -> Times {
        Times {
            clock,
            given: HashSet::new(),
        }
    }

    /// Records that the guest set this time on a file.
    pub(super) fn give(&mut self, time: &NewTimestamp) {
        if let NewTimestamp::Timestamp(time) = time
            && self.given.len() < GIVEN_MAX
        {
            self.given.insert((time.seconds, time.nanoseconds));
        }
    }

    /// The metadata of a file with the times that the guest sees.
    pub(super) fn told(&self, stat: DescriptorStat) -> DescriptorStat {
        DescriptorStat {
            data_access_timestamp: stat.data_access_timestamp.map(|time| self.one(time)),
            data_modification_timestamp: stat
                .data_modification_timestamp
                .map(|time| self.one(time)),
            status_change_timestamp: stat.status_change_timestamp.map(|time| self.one(time)),
            ..stat
        }
    }

    fn one(&self, time: Datetime) -> Datetime {
        if self.given.contains(&(time.seconds, time.nanoseconds)) {
            return time;
        }
        match self.clock {
            FileClock::Fixed if time.seconds >= FIXED_WALL.as_secs() => Datetime {
                seconds: FIXED_WALL.as_secs(),
                nanoseconds: FIXED_WALL.subsec_nanos(),
            },
            FileClock::Fixed | FileClock::Coarse => Datetime {
                seconds: time.seconds,
                nanoseconds: time.nanoseconds / STEP_NS * STEP_NS,
            },
        }
    }
}
