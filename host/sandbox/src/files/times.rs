//! When a guest is told that its files were changed.
//!
//! The file system stamps files with the machine's own clock. A guest is told those times as
//! coarsely as it is told the time, and on the metered engine as the one instant it knows. A time
//! that it gave a file itself is no secret to it and stays exact.

use std::collections::HashSet;

use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorStat, NewTimestamp};

use crate::clocks::{FIXED_WALL, STEP_NS};

/// What a run's clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileClock {
    /// The machine's time, rounded.
    Coarse,
    /// The same instant always.
    Fixed,
}

/// Times that a guest gave files and that are remembered; later ones are told rounded.
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

    /// The guest gives a file this time.
    pub(super) fn give(&mut self, time: &NewTimestamp) {
        if let NewTimestamp::Timestamp(time) = time
            && self.given.len() < GIVEN_MAX
        {
            self.given.insert((time.seconds, time.nanoseconds));
        }
    }

    /// The figures of a file with the times that the guest is told.
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
