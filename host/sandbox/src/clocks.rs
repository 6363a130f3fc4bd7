//! The time that a guest sees.
//!
//! On the fast engine both clocks are coarser than the machine's, so that a guest cannot time
//! others on its processor. The clocks and the times of files are rounded down to the same step, so
//! no file is younger than now. On the metered engine time is invented, so that it is the same in
//! every run: the wall clock stands still and the monotonic clock moves one step at each reading.

use std::cell::Cell;
use std::time::{Duration, Instant};

use wasmtime_wasi::{HostMonotonicClock, HostWallClock};

use cofferdam_domain::clock::Clock;

/// The step that every time of a guest is rounded down to.
pub(crate) const STEP_NS: u32 = 100_000;

/// The step of the metered engine's monotonic clock at each reading.
const READING_NS: u64 = 1_000_000;

/// The metered engine's wall clock: 2026-01-01T00:00:00Z.
pub(crate) const FIXED_WALL: Duration = Duration::from_secs(1_767_225_600);

/// The machine's time, rounded down.
pub(crate) struct CoarseWall(pub(crate) Clock);

impl HostWallClock for CoarseWall {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(STEP_NS.into())
    }

    fn now(&self) -> Duration {
        let now = self.0.since_epoch();
        Duration::new(now.as_secs(), now.subsec_nanos() / STEP_NS * STEP_NS)
    }
}

/// Time since the run began, rounded down.
pub(crate) struct CoarseMonotonic(pub(crate) Instant);

impl HostMonotonicClock for CoarseMonotonic {
    fn resolution(&self) -> u64 {
        STEP_NS.into()
    }

    fn now(&self) -> u64 {
        let elapsed = u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX);
        elapsed - elapsed % u64::from(STEP_NS)
    }
}

/// Returns the same instant at every reading.
pub(crate) struct FixedWall;

impl HostWallClock for FixedWall {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(STEP_NS.into())
    }

    fn now(&self) -> Duration {
        FIXED_WALL
    }
}

/// Zero at the first reading, one step more at each further one. A loop that waits for the clock
/// therefore ends after the same number of readings in every run. Sleeping takes real time and
/// does not move it.
#[derive(Default)]
pub(crate) struct CountingMonotonic(Cell<u64>);

impl HostMonotonicClock for CountingMonotonic {
    fn resolution(&self) -> u64 {
        READING_NS
    }

    fn now(&self) -> u64 {
        self.0.replace(self.0.get().saturating_add(READING_NS))
    }
}
